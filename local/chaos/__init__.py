"""`./retrain chaos`: many uploads, each announced three times, while apps die and submissions go wrong. One run each?

Two apps on one storage scan the container; a stand-in of Event Grid tells one of them of each upload, and so does a
caller of POST /api/retrain. Meanwhile they are killed with SIGKILL and started again, tokens expire, and a fifth of
all submissions meets a fault: refused, dropped, accepted without an answer, too late, throttled. Then the faults end,
the apps stay up, and all has to settle. With `--changes` people are at work, too: the apps are deployed again with
another pin, with other patterns, names and rules, and the identity loses its role and gets it back.

The judge is what the workspace accepted. The app is only asked what it says of its open work, and at the end, by
announcing every upload once more, what it says of each: that must start nothing, and tells what is held from what is
lost.

Which upload meets what, who is killed when, and what is deployed then follow from the seed, as far as processes can be
made to repeat themselves. Never touches a real account: free ports, in memory, on loopback.

    command        the command: runs the story, prints the report
    story          load, settle, ask
    judge          the report, and how runs are judged; pure
    plan           when which app dies, and when the role is lost; pure
    configuration  what is deployed with --changes: variants of retrain.toml; pure
    weather        what submissions meet; pure
"""

from local.chaos.command import chaos as chaos
