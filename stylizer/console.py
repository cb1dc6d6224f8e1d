"""Values to rich text or JSON; the only module that prints."""
def line(t): print(t)
