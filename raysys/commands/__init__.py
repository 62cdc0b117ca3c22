"""The commands behind `raysys` and `jobs/`: the one place that opens several rooms.

`arguments` declares what each command takes; the module that it names has
`run(arguments, console)`, whose result is the command's JSON line.
"""
