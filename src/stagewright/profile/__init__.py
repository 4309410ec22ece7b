"""Measuring a network layer by layer where it runs, and predicting it where it does not.

From a user's code to a profile, module by module: ``user_code`` finds and calls the factories,
``capture`` records which layers run on what (``trace`` through torch.fx, ``watch`` by watching a
run; both give a ``recording``), ``spelling`` writes layers as ``emit`` reads them, ``layered`` and
``measure`` time each of them, ``counting`` counts operations and bytes, and ``assemble`` puts
everything into a :class:`~stagewright.model.profile_document.ProfileDocument`. ``measuring`` does
all of that in its order.

Measuring happens in a process of its own, ``worker``, which ``launch`` starts and listens to. Only
the worker imports torch and the user's code.

Beside that, profiles are carried over to GPUs that were not measured: ``devices`` is the table of
GPUs, ``work`` says what layers compute and move, ``roofline`` how fast that can be at most,
``transfer`` carries times over, and ``prediction`` writes them; ``cpu_rates`` measures what this
CPU can do, with torch.
"""
