"""What happens by itself. `arrive` is THE STORY and is read first; then, in an arrival's order:

    arrive     look, match, enter; send at once
    enter      a decision becomes a row; nobody else makes rows
    send       the only one who calls the endpoint to start something; records what it said
    reconcile  was a submission without an answer accepted? (uses lookout: what the endpoint lists)
    track      follow a run to its end; prove the pin
    folders    files gather; when complete, enter
    limits     who is let in
    search     arrivals that nobody told of, enter
    hold       what cannot be sent as retrain.toml is now waits for a person, and goes on when that is mended
    poison     arrivals that the platform has given up on
    tick       in which order, until when; nothing else

Never downloads training data, and never sends to an endpoint what the ledger does not announce first.
"""
