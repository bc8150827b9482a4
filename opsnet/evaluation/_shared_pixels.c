/* Counts the pixels that each pair of segments shares in two maps in the colours of COCO's PNGs.
 *
 * The same as opsnet.metrics.panoptic_arithmetic.overlap_table of their ids, for which numpy needs several arrays of the
 * size of the image. Built at installation where there is a compiler; shared_pixels.py uses numpy otherwise.
 *
 * Maps are piecewise constant: eight pixels, 24 bytes of each map, are compared with the pixels before them at once, and
 * ids are looked up only where one differs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _MSC_VER
#include <intrin.h>
#endif

#if PY_BIG_ENDIAN
#error "the order of the bytes in a word has to be that in memory; numpy is used instead"
#endif

enum {
    CHANNELS = 3,
    GROUP = 8,        /* pixels */
    IDS = 1 << 24,    /* an id has three bytes */
    FREE = -1,        /* index of a free slot, so that of an id that is not listed */
    FAR = 8,          /* slots */
    MOST_BITS = 24,   /* a slot for each id: more would not spread them better */
    ALL_LISTED = -1,  /* otherwise the number of the map */
    NO_MEMORY = -2,
};

/* An id and its index in the table, at the slot that is the id's own or at one of the next. */
typedef struct {
    uint32_t id;
    int32_t index;
} Slot;

/* A map and its segments. */
typedef struct {
    const unsigned char *pixels;
    Slot *slots;
    uint32_t last_slot;
    int shift;
} Side;

/* The run of equal pixels that a scan has reached: where it began, ids and indices in both maps. */
typedef struct {
    Py_ssize_t start;
    uint32_t id[2];
    int32_t index[2];
} Run;

static inline uint32_t
id_at(const unsigned char *pixel)
{
    return (uint32_t)pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
}

static inline uint32_t
own_slot(const Side *side, uint32_t id)
{
    return id * 0x9e3779b1u >> side->shift;
}

/* The slot with an id, or the free one in which it belongs. */
static inline Slot *
find(const Side *side, uint32_t id)
{
    uint32_t slot = own_slot(side, id);
    while (side->slots[slot].index != FREE && side->slots[slot].id != id)
        slot = (slot + 1) & side->last_slot;
    return &side->slots[slot];
}

/* Fills 2**bits slots, of which most stay free. Returns whether every id is near its own. */
static int
fill(Side *side, const int64_t *ids, Py_ssize_t segments, int bits)
{
    side->last_slot = (1u << bits) - 1;
    side->shift = 32 - bits;
    memset(side->slots, 0xff, sizeof(Slot) << bits); /* FREE */
    int near = 1;
    for (Py_ssize_t i = 0; i <= segments; i++) {
        int64_t id = i < segments ? ids[i] : 0; /* void is last, because a prediction may list 0 as a segment */
        if (id < 0 || id >= IDS)
            continue; /* no pixel has it */
        Slot *slot = find(side, (uint32_t)id);
        if (slot->index == FREE)
            *slot = (Slot){(uint32_t)id, i < segments ? (int32_t)i + 1 : 0};
        near &= (((uint32_t)(slot - side->slots) - own_slot(side, (uint32_t)id)) & side->last_slot) < FAR;
    }
    return near;
}

/* Makes the slots. Ids that were chosen to fall on the same ones are spread over more of them. Returns whether there
 * was enough memory. */
static int
index_segments(Side *side, const int64_t *ids, Py_ssize_t segments)
{
    int bits = 4;
    while (bits < MOST_BITS + 1 && (Py_ssize_t)1 << bits < 4 * (segments + 1))
        bits++;
    for (;; bits++) {
        side->slots = malloc(sizeof(Slot) << bits);
        if (!side->slots || fill(side, ids, segments, bits) || bits >= MOST_BITS)
            return side->slots != NULL;
        free(side->slots);
    }
}

static inline uint64_t
word_at(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* A word of which the bytes that differ from the pixel before, in either map, are not 0. */
static inline uint64_t
changes(const unsigned char *first, const unsigned char *second)
{
    return (word_at(first) ^ word_at(first - CHANNELS)) | (word_at(second) ^ word_at(second - CHANNELS));
}

/* One bit for each byte that is not 0. */
static inline uint32_t
bits_of_bytes(uint64_t word)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7f;
    word = ((word | ((word & low) + low)) >> 7) & 0x0101010101010101;
    return (uint32_t)((word * 0x0102040810204080) >> 56);
}

/* The pixels of a group that differ from the one before: bit 0 for the first, bit 3 for the second, and so on. */
static inline uint32_t
changed_pixels(const unsigned char *first, const unsigned char *second)
{
    uint64_t low = changes(first, second);
    uint64_t middle = changes(first + 8, second + 8);
    uint64_t high = changes(first + 16, second + 16);
    if (!(low | middle | high))
        return 0;
    uint32_t bytes = bits_of_bytes(low) | bits_of_bytes(middle) << 8 | bits_of_bytes(high) << 16;
    return (bytes | bytes >> 1 | bytes >> 2) & 0x249249;
}

static inline int
lowest_bit(uint32_t bits)
{
#ifdef _MSC_VER
    unsigned long index;
    _BitScanForward(&index, bits);
    return (int)index;
#else
    return __builtin_ctz(bits);
#endif
}

/* Ends the run before a pixel and looks up the pixel's ids. Returns the map that does not list one, or ALL_LISTED. */
static inline int
begin_run(Run *run, const Side sides[2], Py_ssize_t pixel, int64_t *table, Py_ssize_t width)
{
    table[run->index[0] * width + run->index[1]] += pixel - run->start;
    run->start = pixel;
    for (int i = 0; i < 2; i++) {
        uint32_t id = id_at(sides[i].pixels + CHANNELS * pixel);
        if (id == run->id[i])
            continue;
        run->id[i] = id;
        run->index[i] = find(&sides[i], id)->index;
        if (run->index[i] == FREE)
            return i;
    }
    return ALL_LISTED;
}

/* Adds the pixels to the table. Returns the map with an id that is not listed, and stores the id, or ALL_LISTED. */
static int
count(const Side sides[2], Py_ssize_t pixels, int64_t *table, Py_ssize_t width, uint32_t *unlisted)
{
    Run run = {0, {IDS, IDS}, {0, 0}};
    int wrong = begin_run(&run, sides, 0, table, width);
    Py_ssize_t pixel = 1;
    for (; pixels - pixel >= GROUP && wrong == ALL_LISTED; pixel += GROUP) {
        uint32_t changed = changed_pixels(sides[0].pixels + CHANNELS * pixel, sides[1].pixels + CHANNELS * pixel);
        for (; changed && wrong == ALL_LISTED; changed &= changed - 1)
            wrong = begin_run(&run, sides, pixel + lowest_bit(changed) / CHANNELS, table, width);
    }
    for (; pixel < pixels && wrong == ALL_LISTED; pixel++) /* the last ones, each as if it had changed */
        wrong = begin_run(&run, sides, pixel, table, width);
    if (wrong == ALL_LISTED)
        table[run.index[0] * width + run.index[1]] += pixels - run.start;
    else
        *unlisted = run.id[wrong];
    return wrong;
}

PyDoc_STRVAR(doc, "See _shared_pixels.pyi.");

static PyObject *
add_shared_pixels(PyObject *module, PyObject *arguments)
{
    Py_buffer maps[2], ids[2], table;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*w*:add_shared_pixels", maps, maps + 1, ids, ids + 1, &table))
        return NULL;
    PyObject *result = NULL;
    Py_ssize_t segments[2] = {ids[0].len / sizeof(int64_t), ids[1].len / sizeof(int64_t)}, bytes = maps[0].len;
    if (bytes != maps[1].len || bytes < CHANNELS || bytes % CHANNELS || segments[0] >= IDS || segments[1] >= IDS ||
        table.len != (int64_t)sizeof(int64_t) * (segments[0] + 1) * (segments[1] + 1)) {
        PyErr_SetString(PyExc_ValueError, "the sizes of the maps, of the lists of ids and of the table do not match");
    } else {
        Side sides[2] = {{maps[0].buf, NULL, 0, 0}, {maps[1].buf, NULL, 0, 0}};
        uint32_t unlisted = 0;
        int found = NO_MEMORY;
        Py_BEGIN_ALLOW_THREADS
        if (index_segments(&sides[0], ids[0].buf, segments[0]) && index_segments(&sides[1], ids[1].buf, segments[1]))
            found = count(sides, bytes / CHANNELS, table.buf, segments[1] + 1, &unlisted);
        free(sides[0].slots);
        free(sides[1].slots);
        Py_END_ALLOW_THREADS
        if (found == NO_MEMORY)
            PyErr_NoMemory();
        else
            result = found == ALL_LISTED ? Py_NewRef(Py_None) : Py_BuildValue("(iI)", found, unlisted);
    }
    for (int i = 0; i < 2; i++) {
        PyBuffer_Release(&maps[i]);
        PyBuffer_Release(&ids[i]);
    }
    PyBuffer_Release(&table);
    return result;
}

static PyMethodDef methods[] = {{"add_shared_pixels", add_shared_pixels, METH_VARARGS, doc}, {NULL, NULL, 0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_shared_pixels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__shared_pixels(void)
{
    return PyModuleDef_Init(&definition);
}
