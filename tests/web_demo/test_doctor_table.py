"""The doctor's table, least similar names first, and its warnings."""

from __future__ import annotations

from opsnet.recognition.vocabulary_fit import ConceptFit, VocabularyFit
from opsnet.web_demo.doctor_table import doctor_table


def test_all_that_the_doctor_says_is_shown() -> None:
    concepts = (ConceptFit("sea", "blue waves", 0.95, 1.026), ConceptFit("<i>", "moon", 0.5, 1.414))
    html = doctor_table(VocabularyFit(0.725, 2.75, concepts, (("sea", "ocean", 0.991),)), "scenes", ["a long name"])
    assert "s = 0.725" in html and "= 2.75" in html and "scenes" in html
    assert "sea and ocean (0.991)" in html
    assert "CLIP truncates: a long name" in html
    assert html.index("&lt;i&gt;") < html.index("blue waves")
    assert "<i>" not in html


def test_nothing_to_warn_of() -> None:
    html = doctor_table(VocabularyFit(1, 0, (ConceptFit("sea", "sea", 1, 1),), ()), "scenes", [])
    assert "warn" not in html


def test_other_recognizers_use_no_strength() -> None:
    html = doctor_table(VocabularyFit(0.7, 3, (ConceptFit("sea", "sea", 1, 1.5),), ()), "scenes", [], modulated=False)
    assert "s = 0.7" in html
    assert "α" not in html and "factor" not in html and "1.500" not in html
