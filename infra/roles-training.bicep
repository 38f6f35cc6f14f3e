// What the app's identity may do with training data: its containers alone. With events by queue it only reads; the blob
// trigger asks for more, and keeps in the account's queues what it is at and what it has given up on.
param accountName string
param datastores array
param byQueue bool
param principalId string

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
var blobRole = byQueue ? blobDataReader : blobDataOwner
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = [for datastore in datastores: {
  parent: blobs
  name: datastore.container
}]

resource ofContainers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (datastore, i) in datastores: {
  name: guid(account.id, datastore.container, principalId, blobRole)
  scope: containers[i]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobRole)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}]

resource ofQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!byQueue) {
  name: guid(account.id, principalId, queueDataContributor)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output location string = account.location // its system topic has to be there, too
