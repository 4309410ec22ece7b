"""Planning under cost model ``max-load``: one device a stage, which pays for what it shares."""
