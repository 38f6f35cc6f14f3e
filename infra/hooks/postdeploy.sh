#!/bin/sh
# After the code is deployed: has the host found its functions, and do the events reach them? May be run again at any
# time (azd hooks run postdeploy): what is there already is only looked at, or set to the same values.
set -eu
cd "$(dirname "$0")/.."
app="--resource-group $AZURE_RESOURCE_GROUP --name $FUNCTION_APP_NAME --subscription $AZURE_SUBSCRIPTION_ID"

# Says on one line what cannot be done yet, and tries for five minutes: the host starts, roles take their time.
retry() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        "$1" && return
        sleep "${HOOK_PAUSE:-20}"
    done
    echo "$2" >&2
    exit 1
}

# A name that is not in this list is answered 202, and its events are lost: so nothing is subscribed before it is.
functions_are_there() {
    # shellcheck disable=SC2086 # the words of $app are options
    found=$(az functionapp function list $app --query "[].name" --output tsv | tr -d '\r')
    for name in $EVENT_FUNCTIONS tick; do
        echo "$found" | grep -qx "$FUNCTION_APP_NAME/$name" || { echo "no function $name yet" && return 1; }
    done
}

key_is_there() {
    # shellcheck disable=SC2086
    key=$(az functionapp keys list $app --query systemKeys.blobs_extension --output tsv | tr -d '\r')
    [ -n "$key" ] || { echo "no system key blobs_extension yet" && return 1; }
}

# Event Grid does its handshake meanwhile: this fails where the app does not answer it. The key stays out of the command
# line. The address of a subscription that is there is the same, so that this changes nothing.
events_are_led() {
    parameters=$(mktemp)
    printf '{"blobsKey": {"value": "%s"}, "datastores": {"value": %s}}' "$key" "$EVENT_DATASTORES" >"$parameters"
    states=$(az deployment group create --name subscriptions --template-file subscriptions.bicep \
        --subscription "$EVENT_TOPIC_SUBSCRIPTION" --resource-group "$EVENT_TOPIC_GROUP" \
        --parameters "@$parameters" --parameters eventDelivery=blobTrigger topicName="$EVENT_TOPIC_NAME" \
        token="$EVENT_TOKEN" storageId="$STORAGE_ACCOUNT_ID" appHost="$FUNCTION_APP_HOST" \
        --query properties.outputs.states.value --output tsv | tr -d '\r')
    rm -f "$parameters"
    [ "$(echo "$states" | sort -u)" = Succeeded ] || { echo "subscriptions: $states" && return 1; }
}

retry functions_are_there "The host has not found all of: $EVENT_FUNCTIONS tick.
Found none at all? Its identity may not have its roles on $STORAGE_ACCOUNT_ID yet; wait, and run azd hooks run postdeploy.
Found others? EVENT_FUNCTIONS is made of TRAINING_DATASTORES: a name there is none of a datastore in retrain.toml, or
retrain.toml has faults, which GET /api/status tells."
echo "functions: found"

if [ "$EVENT_DELIVERY_IN_USE" = blobTrigger ]; then
    retry key_is_there "The host has made no key for the blob trigger. Is RETRAIN_BLOB_SOURCE set to something else?"
    retry events_are_led "The event subscriptions could not be made; the message above says why."
fi
echo "events: reach the app by $EVENT_DELIVERY_IN_USE"
