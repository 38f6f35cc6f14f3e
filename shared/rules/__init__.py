"""Which arrivals start what: the rules, and every decision that follows from them alone.

Everything here is pure. It never looks at a clock, a network, a file or an app setting, and never submits anything:
what it needs is handed in, and a decision is data, a RetrainRequest, a Settling or a Skip with its reason.

To be read in this order:

    arrival     what arrived: one version of one blob
    rule        one [[rules]] table of retrain.toml, as it is written there
    patterns    which names a path takes, and what its captures hold
    take        does a rule take a blob: as data, as a marker, in which folder
    decision    what can be decided, and the key of a request
    match       the decisions about one arrival
    fill        templates become the texts of a request, as far as the service takes them  (templates)
    folder      what is in a folder, and the request that it makes when it is complete
    complete    when it is complete  (durations)
    manifest    reads the list that says what a complete folder holds
    check       what is wrong with a rule, also by its own examples
    events      which blobs a delivery of storage events tells of
    locations   addresses of blobs, taken apart
    hints       what a person may have meant who writes one in place of a path
"""
