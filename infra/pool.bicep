// A named pool that costs nothing while nothing is queued. A pool can be given an identity in this way only.
param batchName string
param poolName string
param identityId string
param image string
param vmSize string
param gpusPerNode int
param maxNodes int
param spot bool

@description('Subnet of its machines, which then have no public address; empty: a network of Batch\'s.')
param subnetId string

// As many machines as there are tasks for, five minutes after the last one none. GetSample stands in the branch alone where
// there are samples: an evaluation without any fails and leaves the pool as it was.
var formulaText = '''cap = {MOST};
percent = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5);
queue = percent < 70 ? $Target{KIND}Nodes * {SLOTS}
  : max($PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 5)));
nodes = (queue + {SLOTS} - 1) / {SLOTS};
$Target{KIND}Nodes = min(cap, nodes);
$Target{OTHER}Nodes = 0;
$NodeDeallocationOption = taskcompletion;
'''
var counted = replace(replace(formulaText, '{MOST}', string(maxNodes)), '{SLOTS}', string(gpusPerNode))
// Spot machines are LowPriority in Batch's formulas.
var formula = replace(replace(counted, '{KIND}', spot ? 'LowPriority' : 'Dedicated'), '{OTHER}', spot ? 'Dedicated' : 'LowPriority')
var inRegistry = contains(image, '.azurecr.io/')

resource batch 'Microsoft.Batch/batchAccounts@2025-06-01' existing = {
  name: batchName
}

resource pool 'Microsoft.Batch/batchAccounts/pools@2025-06-01' = {
  parent: batch
  name: poolName
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    vmSize: vmSize
    taskSlotsPerNode: gpusPerNode
    deploymentConfiguration: {
      virtualMachineConfiguration: {
        imageReference: {
          publisher: 'microsoft-dsvm'
          offer: 'ubuntu-hpc'
          sku: '2404'
          version: 'latest'
        }
        nodeAgentSkuId: 'batch.node.ubuntu 24.04'
        containerConfiguration: {
          type: 'DockerCompatible'
          containerImageNames: [image]
          containerRegistries: inRegistry ? [
            {
              registryServer: split(image, '/')[0]
              identityReference: {
                resourceId: identityId
              }
            }
          ] : []
        }
      }
    }
    scaleSettings: {
      autoScale: {
        evaluationInterval: 'PT5M'
        formula: formula
      }
    }
    startTask: {
      commandLine: '/bin/bash -c nvidia-smi'
      waitForSuccess: true
      maxTaskRetryCount: 1
    }
    networkConfiguration: empty(subnetId) ? null : {
      subnetId: subnetId
      publicIPAddressConfiguration: {
        provision: 'NoPublicIPAddresses'
      }
    }
    metadata: [
      {
        name: 'stylizer'
        value: '1'
      }
    ]
  }
}
