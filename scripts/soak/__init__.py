"""Load and soak: many clients at once, and long runs whose memory, handles and threads must stay flat."""
