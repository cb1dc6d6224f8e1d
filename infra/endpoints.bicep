// Private addresses for storage, for Batch, and for what the machines tell Batch.
param location string
param tags object
param networkId string
param subnetId string
param batchId string
param mediaId string
param logsId string

var zones = ['privatelink.blob.${environment().suffixes.storage}', 'privatelink.batch.azure.com']
var ends = [
  { name: 'media', resource: mediaId, group: 'blob', zone: 0 }
  { name: 'logs', resource: logsId, group: 'blob', zone: 0 }
  { name: 'batch', resource: batchId, group: 'batchAccount', zone: 1 }
  { name: 'nodes', resource: batchId, group: 'nodeManagement', zone: 1 }
]

resource names 'Microsoft.Network/privateDnsZones@2020-06-01' = [for zone in zones: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [for (zone, i) in zones: {
  parent: names[i]
  name: 'stylizer'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
}]

resource doors 'Microsoft.Network/privateEndpoints@2024-05-01' = [for end in ends: {
  name: 'stylizer-${end.name}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: end.name
        properties: {
          privateLinkServiceId: end.resource
          groupIds: [end.group]
        }
      }
    ]
  }
}]

resource named 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (end, i) in ends: {
  parent: doors[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: end.group
        properties: {
          privateDnsZoneId: names[end.zone].id
        }
      }
    ]
  }
}]
