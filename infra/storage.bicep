// One storage account with one container: no keys, nothing public, and old runs deleted.
param name string
param location string
param tags object
param container string

@description('Begins the names of blobs that several runs share; they go when nobody has read them for keepDays.')
param sharedPrefix string
param keepDays int

@description('Whether there is a second container, with -nodes in its name, for the logs of machines that are of no use.')
param hasNodeLogs bool

@description('Who may read, write and delete in the container, and sign links to it; empty: nobody.')
param writerId string
param writerType string

@description('Machine identity that may read the container; empty: none.')
param readerId string
param publicNetworkAccess string

@description('Whether any network may knock; Entra still decides who comes in.')
param isOpen bool

@description('Subnet that may, over its service endpoint; empty: none.')
param subnetId string
param clientAddresses array

var roles = {
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  'Storage Blob Data Reader': '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  'Storage Blob Delegator': 'db58b8e5-c6ad-4a2a-8342-4190687cbf4a' // keys that sign short-lived links, in one's own name
}
var allowed = [for address in clientAddresses: { action: 'Allow', value: address }]

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices' // the rules below are carried out by one of them
      defaultAction: isOpen ? 'Allow' : 'Deny'
      ipRules: isOpen ? [] : allowed
      virtualNetworkRules: empty(subnetId) ? [] : [{ action: 'Allow', id: subnetId }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    lastAccessTimeTrackingPolicy: {
      enable: true
      name: 'AccessTimeTracking'
      trackingGranularityInDays: 1
      blobType: ['blockBlob']
    }
  }
}

resource held 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}

resource heldNodeLogs 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = if (hasNodeLogs) {
  parent: blobs
  name: '${container}-nodes'
  properties: {
    publicAccess: 'None'
  }
}

resource ages 'Microsoft.Storage/storageAccounts/managementPolicies@2023-05-01' = {
  parent: account
  name: 'default'
  dependsOn: [blobs]
  properties: {
    policy: {
      rules: [
        {
          name: 'old-runs'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob', 'appendBlob']
              prefixMatch: ['${container}/stylizer-', '${container}-nodes/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: keepDays
                }
              }
            }
          }
        }
        {
          name: 'unread-content'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${container}/${sharedPrefix}']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterLastAccessTimeGreaterThan: keepDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource writes 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(writerId)) {
  name: guid(held.id, writerId, 'Storage Blob Data Contributor')
  scope: held
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
    principalId: writerId
    principalType: writerType
  }
}

resource writesNodeLogs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasNodeLogs && !empty(writerId)) {
  name: guid(heldNodeLogs.id, writerId, 'Storage Blob Data Contributor')
  scope: heldNodeLogs
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
    principalId: writerId
    principalType: writerType
  }
}

resource signsLinks 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(writerId)) {
  name: guid(account.id, writerId, 'Storage Blob Delegator')
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Delegator'])
    principalId: writerId
    principalType: writerType
  }
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerId)) {
  name: guid(held.id, readerId, 'Storage Blob Data Reader')
  scope: held
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
    principalId: readerId
    principalType: 'ServicePrincipal'
  }
}

output url string = 'https://${account.name}.blob.${environment().suffixes.storage}'
output id string = account.id
