// The function app on the Flex Consumption plan, and its settings. No secret is among them: the app has an identity.
param name string
param planName string
param location string
param tags object
param identityId string
param clientId string
param storageName string
param connectionString string
param trainingAccountName string
param trainingContainer string
param endpointUrl string
param events string
@secure()
param extraSettings object
param instanceMemory int
param maximumInstances int
param subnetId string

var suffix = environment().suffixes.storage
var settings = {
  // The host's own storage, which holds the ledger.
  AzureWebJobsStorage__blobServiceUri: 'https://${storageName}.blob.${suffix}'
  AzureWebJobsStorage__queueServiceUri: 'https://${storageName}.queue.${suffix}'
  AzureWebJobsStorage__tableServiceUri: 'https://${storageName}.table.${suffix}'
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: clientId
  // The training data.
  TrainingStorage__blobServiceUri: 'https://${trainingAccountName}.blob.${suffix}'
  TrainingStorage__queueServiceUri: 'https://${trainingAccountName}.queue.${suffix}'
  TrainingStorage__credential: 'managedidentity'
  TrainingStorage__clientId: clientId
  TRAINING_CONTAINER: trainingContainer
  // The workspace.
  INCOME_ENDPOINT_URL: endpointUrl
  AZURE_CLIENT_ID: clientId
  // How events come, and how many functions run at once: Python's own number is that of processors and four.
  RETRAIN_EVENTS: events
  PYTHON_THREADPOOL_THREAD_COUNT: '32'
  // Where the log goes.
  APPLICATIONINSIGHTS_CONNECTION_STRING: connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  // checkov:skip=CKV_AZURE_225:not all regions of the plan have zones; what a lost zone interrupts goes on afterwards
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true // Linux
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  // checkov:skip=CKV_AZURE_222:Event Grid's webhook and operators come from outside; each function asks for a key
  // checkov:skip=CKV_AZURE_17:neither Event Grid nor other callers have client certificates
  // checkov:skip=CKV_AZURE_212:the plan starts instances when there is something to do
  // checkov:skip=CKV_AZURE_213:the plan has no health check; GET /api/health is for probes from outside
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId // settings of extraSettings may point into a Key Vault
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: 'https://${storageName}.blob.${suffix}/app-package'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        triggers: {
          http: {
            perInstanceConcurrency: 16 // calls wait for the network: one instance for each would cost, and start cold
          }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      appSettings: [for setting in items(union(settings, extraSettings)): {
        name: setting.key
        value: setting.value
      }]
    }
  }
}

// No user name and password for deployment: who deploys signs in.

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

output name string = app.name
output host string = app.properties.defaultHostName
