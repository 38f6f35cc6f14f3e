// All that one environment of the app needs, in the order in which it is made. Resources that are there already (the
// workspace, a training account, its system topic) are named by their resource ids, wherever they are.
// Read first: docs/deploy.md. No role is assigned at the scope of the subscription.
targetScope = 'subscription'

@description('Name of the environment; names of resources are made from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of the app. That of the workspace and of the training data may be another.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Resource id of the Azure Machine Learning workspace whose pipelines are started.')
param workspaceId string

@description('REST endpoint of the pipeline endpoint; the app setting INCOME_ENDPOINT_URL of the shipped retrain.toml.')
param endpointUrl string

@description('What the identity may start in the workspace.')
@allowed([
  'pipelineEndpoint'
  'batchEndpoint'
  'both'
])
param pipelineKind string = 'pipelineEndpoint'

@description('How events reach the app: the blob trigger\'s webhook, or a Storage queue.')
@allowed([
  'blobTrigger'
  'queue'
])
param eventDelivery string = 'blobTrigger'

@description('Resource id of the storage account that training data arrives in. Empty: a new one is made.')
param trainingAccountId string = ''

@description('Where data arrives: name of the datastore in retrain.toml, its container, and a prefix (may be empty).')
param datastores array = [
  {
    name: 'training'
    container: 'training-data'
    prefix: ''
  }
]

@description('Resource id of the Event Grid system topic of the training account, where it has one. Empty: it is made.')
param topicId string = ''

@description('Name of the function app, part of its address. Empty: made from the environment.')
param appName string = ''

@description('Further app settings, as an object of names and values (docs/settings.md).')
@secure()
param extraSettings object = {}

@description('Redundancy of the storage accounts that are made here; not all regions have zones.')
@allowed([
  'Standard_ZRS'
  'Standard_LRS'
])
param storageSku string = 'Standard_ZRS'

@description('Memory of an instance, in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemory int = 2048

@description('The most instances that the plan may start.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100

@description('Address that alerts are mailed to. Empty: alerts are raised and nobody is told.')
param alertEmail string = ''

@description('Reach the app\'s own storage account through a virtual network only.')
param privateNetwork bool = false

var token = toLower(uniqueString(subscription().id, environmentName, location))
var groupName = 'rg-${environmentName}'
var tags = {
  'azd-env-name': environmentName
}
var byQueue = eventDelivery == 'queue'

// A resource id split at its slashes: 2 is the subscription, 4 the resource group, 8 the name.
var workspace = split(workspaceId, '/')
var newAccountId = '${subscription().id}/resourceGroups/${groupName}/providers/Microsoft.Storage/storageAccounts/sttrain${token}'
var accountId = empty(trainingAccountId) ? newAccountId : trainingAccountId
var account = split(accountId, '/')
var newTopicId = '/subscriptions/${account[2]}/resourceGroups/${account[4]}/providers/Microsoft.EventGrid/systemTopics/evgt-${token}'
var topic = split(empty(topicId) ? newTopicId : topicId, '/')

// Where things are

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module network 'network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    storageName: storage.outputs.name
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    sku: storageSku
    privateNetwork: privateNetwork
  }
}

module training 'training.bicep' = if (empty(trainingAccountId)) {
  name: 'training'
  scope: group
  params: {
    name: account[8]
    location: location
    tags: tags
    sku: storageSku
    datastores: datastores
  }
}

// Who may do what

module rolesStorage 'roles-storage.bicep' = {
  name: 'roles-storage'
  scope: group
  params: {
    storageName: storage.outputs.name
    principalId: identity.outputs.principalId
  }
}

module rolesTraining 'roles-training.bicep' = {
  name: 'roles-training-${token}'
  scope: resourceGroup(account[2], account[4])
  params: {
    accountName: account[8]
    datastores: datastores
    byQueue: byQueue
    principalId: identity.outputs.principalId
  }
  dependsOn: [
    training
  ]
}

module rolesWorkspace 'roles-workspace.bicep' = {
  name: 'roles-workspace-${token}'
  scope: resourceGroup(workspace[2], workspace[4])
  params: {
    workspaceName: workspace[8]
    kinds: pipelineKind == 'both' ? ['pipelineEndpoint', 'batchEndpoint'] : [pipelineKind]
    principalId: identity.outputs.principalId
  }
}

// The app, and who is told how it fares

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    logName: 'log-${token}'
    insightsName: 'appi-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    insightsName: monitoring.outputs.insightsName
    location: location
    tags: tags
    email: alertEmail
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: empty(appName) ? 'func-${token}' : appName
    planName: 'plan-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    storageName: storage.outputs.name
    connectionString: monitoring.outputs.connectionString
    trainingAccountName: account[8]
    trainingContainer: datastores[0].container
    endpointUrl: endpointUrl
    events: byQueue ? 'queue' : 'blob'
    extraSettings: extraSettings
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
  }
  dependsOn: [
    rolesStorage // without them the host finds no functions, and says nothing
  ]
}

// The events

module events 'events.bicep' = {
  name: 'events-${token}'
  scope: resourceGroup(topic[2], topic[4])
  params: {
    name: topic[8]
    isNew: empty(topicId)
    accountId: accountId
    location: rolesTraining.outputs.location
    tags: tags
  }
}

module rolesEvents 'roles-events.bicep' = {
  name: 'roles-events'
  scope: group
  params: {
    storageName: storage.outputs.name
    principalId: events.outputs.principalId
  }
}

module subscriptions 'subscriptions.bicep' = if (byQueue) {
  name: 'subscriptions-${token}'
  scope: resourceGroup(topic[2], topic[4])
  params: {
    topicName: topic[8]
    datastores: datastores
    token: token
    storageId: storage.outputs.id
    eventDelivery: eventDelivery
  }
  dependsOn: [
    rolesEvents
  ]
}

// What hooks/ goes by: azd puts outputs into the environment.

var arriveFunctions = [for datastore in datastores: 'arrive_${datastore.name}']

output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_HOST string = app.outputs.host
output EVENT_DELIVERY_IN_USE string = eventDelivery
output EVENT_FUNCTIONS string = byQueue ? 'events' : join(arriveFunctions, ' ')
output EVENT_DATASTORES string = string(datastores)
output EVENT_TOPIC_SUBSCRIPTION string = topic[2]
output EVENT_TOPIC_GROUP string = topic[4]
output EVENT_TOPIC_NAME string = topic[8]
output EVENT_TOKEN string = token
output STORAGE_ACCOUNT_ID string = storage.outputs.id
output TRAINING_ACCOUNT_NAME string = account[8]
