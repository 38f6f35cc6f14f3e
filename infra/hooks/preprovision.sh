#!/bin/sh
# Before anything is made: is what the app is to use there, and can it be used? Changes nothing in Azure; notes the
# training account's system topic, where it has one, so that it is used and not made a second time.
set -eu

fail() {
    echo "$1" >&2
    exit 1
}

az account show --output none || fail "The Azure CLI has to be signed in, too: az login"

region=$(az resource show --ids "${WORKSPACE_ID:-}" --query location --output tsv) ||
    fail "WORKSPACE_ID is no workspace that you can read: ${WORKSPACE_ID:-(not set)}"
echo "workspace: $(basename "$WORKSPACE_ID") in $region (the app may be in another region or subscription)"

[ -n "${TRAINING_ACCOUNT_ID:-}" ] || exit 0 # a new one is made, and its topic with it

kind=$(az resource show --ids "$TRAINING_ACCOUNT_ID" --query kind --output tsv) ||
    fail "TRAINING_ACCOUNT_ID is no storage account that you can read: $TRAINING_ACCOUNT_ID"
[ "$kind" != Storage ] || fail "$(basename "$TRAINING_ACCOUNT_ID") is a classic account (general-purpose v1), which tells
of no uploads. Upgrade it: az storage account update --ids $TRAINING_ACCOUNT_ID --upgrade-to-storagev2"
echo "training account: $(basename "$TRAINING_ACCOUNT_ID"), $kind"

subscription=$(echo "$TRAINING_ACCOUNT_ID" | cut -d/ -f3)
topics=$(az eventgrid system-topic list --subscription "$subscription" --query "[].[source, id, identity.type]" \
    --output tsv) || fail "The system topics of the training account cannot be listed."
topic=$(echo "$topics" | tr -d '\r' | awk -F'\t' -v source="$TRAINING_ACCOUNT_ID" \
    'tolower($1) == tolower(source) { print $2 "\t" $3 }')
id=$(echo "$topic" | cut -f1)
case "$topic" in
"") echo "system topic: none yet" ;;
*SystemAssigned*) echo "system topic: $id is used" ;;
*) fail "The account's system topic has no identity to deliver with. Give it one:
az eventgrid system-topic update --ids $id --mi-system-assigned" ;;
esac
azd env set TRAINING_TOPIC_ID "$id"
