"""The command `synthlab`.

doctor  Installation check
main    The synthlab command line
"""
