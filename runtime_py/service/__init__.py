"""A bundle as a service: lines of JSON on a Unix socket. docs/service.md has the protocol; `native/session/src/service`
is the same in C++, file by file."""
