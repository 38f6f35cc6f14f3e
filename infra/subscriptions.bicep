// One event subscription for each datastore's container, on the topic of the training account. By queue it is made with
// everything else; for the blob trigger by hooks/postdeploy, since the key is there only once the code is deployed, and
// Event Grid wants the handshake answered.
param topicName string
param datastores array
param token string
param storageId string

@allowed([
  'blobTrigger'
  'queue'
])
param eventDelivery string

@description('Host name of the function app, for blobTrigger.')
param appHost string = ''

@description('The system key blobs_extension, for blobTrigger.')
@secure()
param blobsKey string = ''

// Calls that leave a blob with all its data. On a hierarchical account a blob is announced before, too (CreateFile,
// SftpCreate): the blob trigger would act on an empty blob, while the queue's function knows, and takes markers from it.
var written = ['PutBlob', 'PutBlockList', 'CopyBlob', 'FlushWithClose', 'SftpCommit']
var byQueue = eventDelivery == 'queue'
var furtherCalls = ['CreateFile', 'SftpCreate', 'RenameFile', 'RenameDirectory', 'SftpRename']
// The blob trigger's webhook reads data.url, which a rename does not have.
var created = ['Microsoft.Storage.BlobCreated']
var renamed = ['Microsoft.Storage.BlobRenamed', 'Microsoft.Storage.DirectoryRenamed']
var webhook = 'https://${appHost}/runtime/webhooks/blobs?code=${uriComponent(blobsKey)}&functionName=Host.Functions'

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [for datastore in datastores: {
  parent: topic
  name: take('retrain-${token}-${replace(datastore.name, '_', '-')}', 64)
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      subjectBeginsWith: '/blobServices/default/containers/${datastore.container}/blobs/${datastore.prefix}'
      includedEventTypes: byQueue ? concat(created, renamed) : created
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.api'
          values: byQueue ? concat(written, furtherCalls) : written
        }
      ]
    }
    destination: byQueue ? null : {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: '${webhook}.arrive_${datastore.name}'
      }
    }
    deliveryWithResourceIdentity: byQueue ? {
      identity: {
        type: 'SystemAssigned'
      }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: storageId
          queueName: 'retrain-events'
          queueMessageTimeToLiveInSeconds: -1 // it waits as long as the app is down
        }
      }
    } : null
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storageId
          blobContainerName: 'dead-letters'
        }
      }
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}]

output states array = [for (datastore, i) in datastores: subscriptions[i].properties.provisioningState]
