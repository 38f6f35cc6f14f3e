"""Why our own submission differs from what the SDKs send, where it does: one row a difference. Data only.

A difference without a row here fails `./retrain conformance`, and so does a row whose difference is gone.
"""

from local.conformance.compare import Explained

CLASSES = ("pipeline_endpoint", "published_pipeline")
REST = ("pipeline_endpoint, REST client",)
BATCH = ("batch_endpoint",)
COMPONENT = ("component_job",)

EXPLAINED = (
    Explained((*CLASSES, *REST, *BATCH, *COMPONENT), "header user-agent", "other value", "each client names itself"),
    Explained(
        (*CLASSES, *REST, *COMPONENT),
        "header accept",
        "other value",
        "that of the HTTP library: whatever is answered is read, an error page of a gateway too",
    ),
    Explained(
        (*CLASSES, *REST),
        "header content-type",
        "other value",
        "the generated client says application/json-patch+json, which this is not; documented calls say what ours says",
    ),
    Explained(
        CLASSES,
        "body Description",
        "other value",
        "the SDK copies the experiment's name; ours says which rule and which data, for who sees the run in the studio",
    ),
    Explained(CLASSES, "body RunSource", "other value", "free text: where the run comes from"),
    Explained(CLASSES, "body RunType", "only the SDK", "it says SDK; documented calls of the REST API leave it out"),
    Explained(
        CLASSES,
        "body DataSetDefinitionValueAssignments",
        "only the SDK",
        "an empty map; ours sends the maps that have something in them",
    ),
    Explained(
        ("published_pipeline",),
        "body EnableNotification",
        "only the SDK",
        "null; ours leaves it as the pipeline was published",
    ),
    Explained(CLASSES, "body Properties", "only the SDK", "an empty map of what its telemetry knows; ours has the key"),
    Explained(
        CLASSES,
        "body tags/retrain.*",
        "only ours",
        "the SDK sets tags afterwards, by a call of its own; a key has to go along, or a crash in between loses the "
        "run. That the model has `tags`, in small letters, shows in what its REST client sends",
    ),
    Explained(
        CLASSES,
        "body Properties/retrain.*",
        "only ours",
        "the key once more: which of the two the service gives back is not documented. The REST client has them, too",
    ),
    Explained(
        BATCH,
        "header repeatability_request-id",
        "other value",
        "new for each invocation of the SDK; ours is made from the key, and stays the same when that is sent again",
    ),
    Explained(
        BATCH,
        "body properties/description",
        "only ours",
        "which rule and which data, for whoever sees the job in the studio; the SDK has no way to say it",
    ),
    Explained(
        BATCH,
        "body properties/tags/retrain.*",
        "only ours",
        "the key, to find the job again; the SDK has no way to set tags here, the service's model does",
    ),
    Explained(
        BATCH,
        "body properties/properties/retrain.*",
        "only ours",
        "the key once more, beside experimentName, since which of the two the service gives back is not documented",
    ),
    Explained(
        COMPONENT,
        "query api-version",
        "other value",
        "the SDK takes a preview; ours is the newest that the documents use",
    ),
    Explained(COMPONENT, "header x-ms-client-request-id", "only the SDK", "for its own logs; new for each request"),
    Explained(COMPONENT, "body properties/jobs", "only the SDK", "an empty map: the component has the steps"),
    Explained(COMPONENT, "body properties/outputs", "only the SDK", "an empty map; ours sends those that have a place"),
    Explained(COMPONENT, "body properties/isArchived", "only the SDK", "false, as it is for what is left out"),
    Explained(
        COMPONENT,
        "body properties/settings/_source",
        "only the SDK",
        "the SDK's note of where the component came from; no part of the documented model",
    ),
)
