"""The arguments of each command, one function a command; `arguments` says which is whose."""
