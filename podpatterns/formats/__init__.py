"""Pure codecs of logs and metrics: bytes and values in, bytes and values out; no clock, no sockets."""
