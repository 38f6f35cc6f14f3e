# Before anything is made: is what the app is to use there, and can it be used? Changes nothing in Azure; notes the
# training account's system topic, where it has one, so that it is used and not made a second time.
$ErrorActionPreference = 'Stop'

function Fail($text) {
    [Console]::Error.WriteLine($text)
    exit 1
}

az account show --output none
if ($LASTEXITCODE) { Fail 'The Azure CLI has to be signed in, too: az login' }

$region = az resource show --ids $env:WORKSPACE_ID --query location --output tsv
if ($LASTEXITCODE) { Fail "WORKSPACE_ID is no workspace that you can read: $env:WORKSPACE_ID" }
Write-Host "workspace: $(Split-Path -Leaf $env:WORKSPACE_ID) in $region (the app may be in another region or subscription)"

$accountId = $env:TRAINING_ACCOUNT_ID
if (-not $accountId) { exit 0 } # a new one is made, and its topic with it

$kind = az resource show --ids $accountId --query kind --output tsv
if ($LASTEXITCODE) { Fail "TRAINING_ACCOUNT_ID is no storage account that you can read: $accountId" }
if ($kind -eq 'Storage') {
    Fail "$(Split-Path -Leaf $accountId) is a classic account (general-purpose v1), which tells
of no uploads. Upgrade it: az storage account update --ids $accountId --upgrade-to-storagev2"
}
Write-Host "training account: $(Split-Path -Leaf $accountId), $kind"

$topics = az eventgrid system-topic list --subscription $accountId.Split('/')[2] --output json | ConvertFrom-Json
if ($LASTEXITCODE) { Fail 'The system topics of the training account cannot be listed.' }
$topic = $topics | Where-Object { $_.source -eq $accountId } # -eq takes no notice of case, as resource ids want it
if (-not $topic) { Write-Host 'system topic: none yet' }
elseif ($topic.identity.type -notmatch 'SystemAssigned') {
    Fail "The account's system topic has no identity to deliver with. Give it one:
az eventgrid system-topic update --ids $($topic.id) --mi-system-assigned"
}
else { Write-Host "system topic: $($topic.id) is used" }
azd env set TRAINING_TOPIC_ID "$($topic.id)"
exit $LASTEXITCODE
