// What the app's identity may do in the workspace. Custom roles, since the built-in ones allow much more; the lists are
// those that the product's documentation gives for running what is already published.
param workspaceName string
param kinds array
param principalId string

var actions = {
  // "Manage access to Azure Machine Learning workspaces", the role for running a published endpoint.
  pipelineEndpoint: [
    'Microsoft.MachineLearningServices/workspaces/read'
    'Microsoft.MachineLearningServices/workspaces/endpoints/pipelines/read'
    'Microsoft.MachineLearningServices/workspaces/metadata/artifacts/read'
    'Microsoft.MachineLearningServices/workspaces/metadata/artifacts/write'
    'Microsoft.MachineLearningServices/workspaces/metadata/snapshots/read'
    'Microsoft.MachineLearningServices/workspaces/metadata/snapshots/write'
    'Microsoft.MachineLearningServices/workspaces/metadata/secrets/read'
    'Microsoft.MachineLearningServices/workspaces/environments/read'
    'Microsoft.MachineLearningServices/workspaces/environments/write'
    'Microsoft.MachineLearningServices/workspaces/environments/build/action'
    'Microsoft.MachineLearningServices/workspaces/modules/read'
    'Microsoft.MachineLearningServices/workspaces/components/read'
    'Microsoft.MachineLearningServices/workspaces/datasets/*/read'
    'Microsoft.MachineLearningServices/workspaces/datastores/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/write'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/submit/action'
    'Microsoft.MachineLearningServices/workspaces/experiments/jobs/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/jobs/write'
  ]
  // "Authorization on batch endpoints", and what following, cancelling and checking a job needs: jobs, components.
  batchEndpoint: [
    'Microsoft.MachineLearningServices/workspaces/read'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/read'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/write'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/jobs/write'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/read'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/write'
    'Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/jobs/write'
    'Microsoft.MachineLearningServices/workspaces/data/versions/write'
    'Microsoft.MachineLearningServices/workspaces/datasets/registered/read'
    'Microsoft.MachineLearningServices/workspaces/datasets/registered/write'
    'Microsoft.MachineLearningServices/workspaces/datasets/unregistered/read'
    'Microsoft.MachineLearningServices/workspaces/datasets/unregistered/write'
    'Microsoft.MachineLearningServices/workspaces/datastores/read'
    'Microsoft.MachineLearningServices/workspaces/datastores/write'
    'Microsoft.MachineLearningServices/workspaces/datastores/listsecrets/action'
    'Microsoft.MachineLearningServices/workspaces/listStorageAccountKeys/action'
    'Microsoft.MachineLearningServices/workspaces/computes/read'
    'Microsoft.MachineLearningServices/workspaces/computes/listKeys/action'
    'Microsoft.MachineLearningServices/workspaces/metadata/artifacts/read'
    'Microsoft.MachineLearningServices/workspaces/metadata/artifacts/write'
    'Microsoft.MachineLearningServices/workspaces/metadata/snapshots/read'
    'Microsoft.MachineLearningServices/workspaces/metadata/secrets/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/read'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/write'
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/submit/action'
    'Microsoft.MachineLearningServices/workspaces/metrics/resource/write'
    'Microsoft.MachineLearningServices/workspaces/modules/read'
    'Microsoft.MachineLearningServices/workspaces/models/read'
    'Microsoft.MachineLearningServices/workspaces/endpoints/pipelines/read'
    'Microsoft.MachineLearningServices/workspaces/endpoints/pipelines/write'
    'Microsoft.MachineLearningServices/workspaces/environments/read'
    'Microsoft.MachineLearningServices/workspaces/environments/write'
    'Microsoft.MachineLearningServices/workspaces/environments/build/action'
    'Microsoft.MachineLearningServices/workspaces/environments/readSecrets/action'
    'Microsoft.MachineLearningServices/workspaces/components/read'
    'Microsoft.MachineLearningServices/workspaces/jobs/*'
  ]
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-09-01' existing = {
  name: workspaceName
}

resource roles 'Microsoft.Authorization/roleDefinitions@2022-04-01' = [for kind in kinds: {
  name: guid(resourceGroup().id, 'retrain-trigger', kind)
  properties: {
    // Names of roles are the tenant's: the suffix is of the resource group.
    roleName: 'Retrain Trigger ${kind} (${uniqueString(resourceGroup().id)})'
    description: 'Start what is published in Azure Machine Learning, and follow it.'
    type: 'CustomRole'
    permissions: [
      {
        actions: actions[kind]
        notActions: []
      }
    ]
    assignableScopes: [
      resourceGroup().id
    ]
  }
}]

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (kind, i) in kinds: {
  name: guid(workspace.id, principalId, kind)
  scope: workspace
  properties: {
    roleDefinitionId: roles[i].id
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}]
