// The Batch account, its two storage accounts, the identity of the machines, and the roles of who uses them.
param location string
param tags object
param token string
param principalId string
param principalType string
param container string
param keepDays int
param network string
param subnetId string
param clientAddresses array
param registry bool
param monitoring bool

var roles = {
  'Azure Batch Data Contributor': '6aaa78f1-f7de-44ca-8722-c64a23943cae' // pools, jobs and tasks, not the account
  'Azure Batch Account Reader': '11076f67-66f6-4be0-8f6b-f0609fd05cc9' // quotas, for doctor
  AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
  AcrPush: '8311e382-0749-4cb8-b61a-304f252e45ec'
}
var isPublic = network == 'public'
var isPrivate = network == 'privateEndpoints'
// With private endpoints and nobody outside there is no public side at all.
var publicNetworkAccess = isPrivate && empty(clientAddresses) ? 'Disabled' : 'Enabled'
var allowed = [for address in clientAddresses: { action: 'Allow', value: address }]

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'stylizer-nodes-${token}'
  location: location
  tags: tags
}

resource batch 'Microsoft.Batch/batchAccounts@2025-06-01' = {
  name: 'stylizer${token}'
  location: location
  tags: tags
  properties: {
    allowedAuthenticationModes: ['AAD']
    poolAllocationMode: 'BatchService'
    publicNetworkAccess: publicNetworkAccess
    networkProfile: {
      accountAccess: {
        defaultAction: isPublic ? 'Allow' : 'Deny'
        ipRules: isPublic ? [] : allowed
      }
      nodeManagementAccess: {
        defaultAction: isPrivate ? 'Deny' : 'Allow'
      }
    }
  }
}

resource usesBatch 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(principalId)) {
  name: guid(batch.id, principalId, 'Azure Batch Data Contributor')
  scope: batch
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Batch Data Contributor'])
    principalId: principalId
    principalType: principalType
  }
}

resource readsQuotas 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(principalId)) {
  name: guid(batch.id, principalId, 'Azure Batch Account Reader')
  scope: batch
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Batch Account Reader'])
    principalId: principalId
    principalType: principalType
  }
}

module media 'storage.bicep' = {
  name: 'media'
  params: {
    name: 'stymedia${token}'
    location: location
    tags: tags
    container: container
    sharedPrefix: 'content/'
    hasNodeLogs: false
    keepDays: keepDays
    writerId: principalId
    writerType: principalType
    readerId: ''
    publicNetworkAccess: publicNetworkAccess
    isOpen: isPublic
    subnetId: isPrivate ? '' : subnetId
    clientAddresses: clientAddresses
  }
}

module logs 'storage.bicep' = {
  name: 'logs'
  params: {
    name: 'stylogs${token}'
    location: location
    tags: tags
    container: '${container}-logs'
    sharedPrefix: 'code/'
    hasNodeLogs: true
    keepDays: keepDays
    writerId: principalId
    writerType: principalType
    // Batch brings the machines what they run as their identity; all else they read and write by short-lived links.
    readerId: identity.properties.principalId
    publicNetworkAccess: publicNetworkAccess
    isOpen: isPublic
    subnetId: isPrivate ? '' : subnetId
    clientAddresses: clientAddresses
  }
}

resource images 'Microsoft.ContainerRegistry/registries@2023-07-01' = if (registry) {
  name: 'stylizer${token}'
  location: location
  tags: tags
  sku: {
    name: 'Basic'
  }
  properties: {
    adminUserEnabled: false
  }
}

resource pullsImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (registry) {
  name: guid(images.id, identity.id, 'AcrPull')
  scope: images
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource pushesImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (registry && !empty(principalId)) {
  name: guid(images.id, principalId, 'AcrPush')
  scope: images
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPush)
    principalId: principalId
    principalType: principalType
  }
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = if (monitoring) {
  name: 'stylizer-${token}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
    workspaceCapping: {
      dailyQuotaGb: 1
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = if (monitoring) {
  name: 'stylizer-${token}'
  location: location
  tags: tags
  kind: 'other'
  properties: {
    Application_Type: 'other'
    WorkspaceResourceId: workspace.id
  }
}

output batch string = 'https://${batch.properties.accountEndpoint}'
output batchName string = batch.name
output batchId string = batch.id
output media string = media.outputs.url
output mediaId string = media.outputs.id
output logs string = logs.outputs.url
output logsId string = logs.outputs.id
output identityId string = identity.id
output registryServer string = registry ? images.properties.loginServer : ''
