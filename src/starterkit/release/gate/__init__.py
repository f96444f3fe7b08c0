"""Evidence in, verdict out. Pure: the gate reads no file, no server and no clock."""
