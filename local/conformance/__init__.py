"""`./retrain conformance`: Microsoft's SDKs, unmodified, before the stand-in; and our own client, compared with them.

    case.py       the submission that all of them send         expected.py  what the SDKs are to see
    v1/, v2/      drivers of the SDKs, each with its packages  compare.py   what was sent, field by field
    explained.py  why ours differs where it does               command.py   runs all of it, and prints

Our own client is driven by tests/conformance_worker.py, in a process like the SDKs: nothing here imports the
application. Never connects to anything but loopback (and, once, to the package index for the SDKs).
"""
