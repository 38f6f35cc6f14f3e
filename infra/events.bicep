// The Event Grid system topic of the training account. An account has only one: where it is there already, it is used as
// it is, and has to have a system-assigned identity (the only kind that delivers through a storage firewall).
param name string
param isNew bool
param accountId string
param location string // that of the account
param tags object

resource made 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (isNew) {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: accountId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource found 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!isNew) {
  name: name
}

output principalId string = isNew ? made!.identity.principalId : found!.identity.principalId
