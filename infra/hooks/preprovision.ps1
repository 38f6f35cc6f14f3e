# Before anything is made: is what the app is to use there, and can it be used? Changes nothing in Azure; notes the
# training account's system topic, where it has one, so that it is used and not made a second time.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $false # az that fails is looked at here

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

$subscription = $accountId.Split('/')[2]
$topics = az eventgrid system-topic list --subscription $subscription --query '[].[source, id, identity.type]' --output tsv
if ($LASTEXITCODE) { Fail 'The system topics of the training account cannot be listed.' }
$source, $id, $identity = "$($topics | Where-Object { $_.Split("`t")[0] -eq $accountId })".Split("`t") # whatever its case
if (-not $id) { Write-Host 'system topic: none yet' }
elseif ($identity -match 'SystemAssigned') { Write-Host "system topic: $id is used" }
else {
    Fail "The account's system topic has no identity to deliver with. Give it one:
az eventgrid system-topic update --ids $id --mi-system-assigned"
}
azd env set TRAINING_TOPIC_ID "$id"
exit $LASTEXITCODE
