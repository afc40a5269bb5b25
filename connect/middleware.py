class BodyLimit:
    pass
