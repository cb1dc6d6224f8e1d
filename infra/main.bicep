// What stylizer needs of Azure, from nothing: azd provision, or az deployment sub create (docs/azure.md).
// No keys anywhere: people and machines sign in with Entra, and every role is named where it is given.
targetScope = 'subscription'

@description('Tells this installation from others in the subscription; names are made from it.')
@minLength(1)
@maxLength(20)
param environmentName string = 'stylizer'

@description('Region of everything here. It must have the VM size, and quota for it: stylizer doctor --backend azure says.')
param location string = deployment().location

@description('Object id of the person, group or application that runs stylizer; empty: nobody is given a role. az ad signed-in-user show --query id')
param principalId string = ''

@description('What principalId is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Resource group that is made and holds everything, so that deleting it deletes everything.')
param resourceGroupName string = 'rg-${environmentName}'

@description('Blob container for sources and results; code and logs go to one of the same name with -logs, what broken machines bring to one with -logs-nodes.')
@minLength(3)
@maxLength(52)
param container string = 'stylizer'

@description('Days until results and logs are deleted, and sources that nobody has read since. A run can last 7 days.')
@minValue(8)
@maxValue(365)
param keepDays int = 14

@description('public: the firewall is Entra alone. serviceEndpoints: machines have no public addresses and storage is open to their subnet and to clientAddresses alone. privateEndpoints: the same over private addresses.')
@allowed(['public', 'serviceEndpoints', 'privateEndpoints'])
param network string = 'public'

@description('Public IPv4 addresses (or ranges) of the computers that run stylizer, where network is not public.')
param clientAddresses array = []

@description('Name of a pool that stays and scales to nothing when idle; empty: stylizer makes a pool for each job. It needs image.')
param poolName string = ''

@description('Machines of that pool; one with a GPU.')
param vmSize string = 'Standard_NC4as_T4_v3'

@description('GPUs that one of them has; so many tasks run on it at once.')
@allowed([1, 2, 4, 8])
param gpusPerNode int = 1

@description('Machines of that pool at most.')
@minValue(1)
@maxValue(100)
param maxNodes int = 4

@description('Spot machines, which cost a fraction and may be taken away, or dedicated ones.')
param spot bool = true

@description('Container image with the worker (see Dockerfile), as in NAME.azurecr.io/stylizer:1.0. One in the registry made here is pulled with the identity of the machines.')
param image string = ''

@description('Make a container registry. About 5 USD a month.')
param registry bool = false

@description('Make an Application Insights and its Log Analytics workspace, for stylizer\'s telemetry, at most 1 GB a day.')
param monitoring bool = false

var token = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName, application: 'stylizer' }
var inNetwork = network != 'public'
var isPrivate = network == 'privateEndpoints'
var hasPool = !empty(poolName) && !empty(image)

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: resourceGroupName
  location: location
  tags: tags
}

module net 'network.bicep' = if (inNetwork) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    isPrivate: isPrivate
    principalId: principalId
    principalType: principalType
  }
}

module account 'account.bicep' = {
  name: 'account'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    principalId: principalId
    principalType: principalType
    container: container
    keepDays: keepDays
    network: network
    subnetId: inNetwork ? net.outputs.nodesSubnetId : ''
    clientAddresses: clientAddresses
    registry: registry
    monitoring: monitoring
  }
}

module endpoints 'endpoints.bicep' = if (isPrivate) {
  name: 'endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkId: isPrivate ? net.outputs.networkId : ''
    subnetId: isPrivate ? net.outputs.endpointsSubnetId : ''
    batchId: account.outputs.batchId
    mediaId: account.outputs.mediaId
    logsId: account.outputs.logsId
  }
}

module pool 'pool.bicep' = if (hasPool) {
  name: 'pool'
  scope: group
  dependsOn: [endpoints]
  params: {
    batchName: account.outputs.batchName
    poolName: poolName
    identityId: account.outputs.identityId
    image: image
    vmSize: vmSize
    gpusPerNode: gpusPerNode
    maxNodes: maxNodes
    spot: spot
    subnetId: inNetwork ? net.outputs.nodesSubnetId : ''
  }
}

// Named as the settings in [azure] of stylizer's config.
output batch string = account.outputs.batch
output media string = account.outputs.media
output logs string = account.outputs.logs
output container string = container
output identity string = hasPool ? account.outputs.identityId : ''
output pool string = hasPool ? poolName : ''
output image string = image
output region string = location
output subscription string = subscription().subscriptionId
output resource_group string = group.name
output subnet string = inNetwork ? net.outputs.nodesSubnetId : ''

@description('Where to push the image; empty without a registry.')
output registryServer string = account.outputs.registryServer

@description('The command that tells stylizer all of this.')
output init string = 'stylizer azure init --batch ${account.outputs.batch} --media ${account.outputs.media} --logs ${account.outputs.logs} --container ${container} --region ${location} --subscription ${subscription().subscriptionId} --resource-group ${group.name}${hasPool ? ' --pool ${poolName} --vm-size ${vmSize} --identity ${account.outputs.identityId}' : ''}${empty(image) ? '' : ' --image ${image}'}'
