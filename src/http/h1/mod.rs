//! HTTP/1.1: parse, encode, chunked.
