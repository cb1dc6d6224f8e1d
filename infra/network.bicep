// A network whose machines have no public address and reach the outside through one gateway.
param location string
param tags object

@description('Whether storage and Batch have private addresses in it, or storage is reached by a service endpoint.')
param isPrivate bool
param principalId string
param principalType string

var roles = {
  'Network Contributor': '4d97b98b-1d4f-4787-a291-c67834d212e7' // for one subnet: who makes pools in it must join it
}

resource rules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: 'stylizer-nodes'
  location: location
  tags: tags
  properties: {
    // Batch needs no way in; nobody else does either.
    securityRules: [
      {
        name: 'nothing-from-the-internet'
        properties: {
          access: 'Deny'
          direction: 'Inbound'
          priority: 4000
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: 'stylizer-egress'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2024-05-01' = {
  name: 'stylizer-egress'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [{ id: address.id }]
  }
}

resource net 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'stylizer'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: ['10.60.0.0/16']
    }
  }
}

resource nodes 'Microsoft.Network/virtualNetworks/subnets@2024-05-01' = {
  parent: net
  name: 'nodes'
  properties: {
    addressPrefix: '10.60.0.0/22'
    defaultOutboundAccess: false
    natGateway: {
      id: gateway.id
    }
    networkSecurityGroup: {
      id: rules.id
    }
    serviceEndpoints: isPrivate ? [] : [{ service: 'Microsoft.Storage' }]
  }
}

resource endpoints 'Microsoft.Network/virtualNetworks/subnets@2024-05-01' = {
  parent: net
  name: 'endpoints'
  dependsOn: [nodes] // a network changes one subnet at a time
  properties: {
    addressPrefix: '10.60.4.0/27'
    defaultOutboundAccess: false
  }
}

resource joins 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(principalId)) {
  name: guid(nodes.id, principalId, 'Network Contributor')
  scope: nodes
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Network Contributor'])
    principalId: principalId
    principalType: principalType
  }
}

output networkId string = net.id
output nodesSubnetId string = nodes.id
output endpointsSubnetId string = endpoints.id
