# After the code is deployed: has the host found its functions, and do the events reach them? May be run again at any
# time (azd hooks run postdeploy): what is there already is only looked at, or set to the same values.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $false # az that fails is looked at here
Set-Location (Split-Path -Parent $PSScriptRoot)
$app = '--resource-group', $env:AZURE_RESOURCE_GROUP, '--name', $env:FUNCTION_APP_NAME, '--subscription', $env:AZURE_SUBSCRIPTION_ID

# Says on one line what cannot be done yet, and tries for five minutes: the host starts, roles take their time.
function Retry($step, $failure) {
    foreach ($attempt in 1..15) {
        if (& $step) { return }
        Start-Sleep -Seconds ($env:HOOK_PAUSE ?? 20)
    }
    [Console]::Error.WriteLine($failure)
    exit 1
}

# A name that is not in this list is answered 202, and its events are lost: so nothing is subscribed before it is.
function FunctionsAreThere {
    $found = az functionapp function list @app --query '[].name' --output tsv
    foreach ($name in $env:EVENT_FUNCTIONS.Split(' ') + 'tick') {
        if ($found -notcontains "$env:FUNCTION_APP_NAME/$name") { Write-Host "no function $name yet"; return $false }
    }
    return $true
}

function KeyIsThere {
    $script:key = az functionapp keys list @app --query systemKeys.blobs_extension --output tsv
    if (-not $script:key) { Write-Host 'no system key blobs_extension yet' }
    return [bool]$script:key
}

# Event Grid does its handshake meanwhile: this fails where the app does not answer it. The key stays out of the command
# line. The address of a subscription that is there is the same, so that this changes nothing.
function EventsAreLed {
    $parameters = New-TemporaryFile
    @{ blobsKey = @{ value = $script:key }; datastores = @{ value = @($env:EVENT_DATASTORES | ConvertFrom-Json) } } |
        ConvertTo-Json -Depth 5 | Set-Content $parameters.FullName
    $states = az deployment group create --name subscriptions --template-file subscriptions.bicep `
        --subscription $env:EVENT_TOPIC_SUBSCRIPTION --resource-group $env:EVENT_TOPIC_GROUP `
        --parameters "@$($parameters.FullName)" --parameters eventDelivery=blobTrigger topicName=$env:EVENT_TOPIC_NAME `
        token=$env:EVENT_TOKEN storageId=$env:STORAGE_ACCOUNT_ID appHost=$env:FUNCTION_APP_HOST `
        --query properties.outputs.states.value --output tsv
    Remove-Item $parameters.FullName
    if (-not $states -or ($states -ne 'Succeeded')) { Write-Host "subscriptions: $states"; return $false }
    return $true
}

Retry FunctionsAreThere "The host has not found all of: $env:EVENT_FUNCTIONS tick.
Found none at all? Its identity may not have its roles on $env:STORAGE_ACCOUNT_ID yet; wait, and run azd hooks run postdeploy.
Found others? EVENT_FUNCTIONS is made of TRAINING_DATASTORES: a name there is none of a datastore in retrain.toml, or
retrain.toml has faults, which GET /api/status tells."
Write-Host 'functions: found'

if ($env:EVENT_DELIVERY_IN_USE -eq 'blobTrigger') {
    Retry KeyIsThere 'The host has made no key for the blob trigger. Is RETRAIN_BLOB_SOURCE set to something else?'
    Retry EventsAreLed 'The event subscriptions could not be made; the message above says why.'
}
Write-Host "events: reach the app by $env:EVENT_DELIVERY_IN_USE"
