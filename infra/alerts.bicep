// Alerts on lines of the log (shared/log.py: `event name=value ...`; docs/reliability.md says what each event means).
param insightsName string
param location string
param tags object
param email string

// What needs a person. Lines arrive some minutes late, so that each look goes further back than the one before it did.
var lines = [
  {
    name: 'dead'
    severity: 1
    events: ['dead', 'poison_unreadable']
    description: 'An arrival could not be entered, and the platform has given up on it: redrive it.'
  }
  {
    name: 'held'
    severity: 1
    events: ['held', 'doubled']
    description: 'The outcome of a submission cannot be learned, or its rule is gone: a person decides.'
  }
  {
    name: 'failed'
    severity: 2
    events: ['failed', 'refused', 'lost_sight', 'mispinned', 'not_recorded']
    description: 'A run failed, or a request was refused, cannot be followed, or runs another pipeline than the pinned one.'
  }
]

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-retrain'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'retrain'
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource happened 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for line in lines: {
  name: 'retrain-${line.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Retrain Trigger: ${line.name}'
    description: line.description
    severity: line.severity
    enabled: true
    scopes: [insights.id]
    evaluationFrequency: 'PT10M'
    windowSize: 'PT15M'
    autoMitigate: false
    criteria: {
      allOf: [
        {
          query: 'traces | where message matches regex "^(${join(line.events, '|')}) "'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(email) ? [] : [people.id]
    }
  }
}]

// An endpoint that takes nothing is tried again at least every quarter of an hour, and each try is a line.
resource blocked 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'retrain-blocked'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Retrain Trigger: blocked'
    description: 'What a rule sends has been put off for ten minutes or longer: GET /api/status names the endpoint and the cause.'
    severity: 2
    enabled: true
    scopes: [insights.id]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT45M'
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: 'traces | where message startswith_cs "deferred " | extend rule = extract("rule=([^ ]+)", 1, message) | summarize first = min(timestamp), last = max(timestamp) by rule | where last - first > 10m'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(email) ? [] : [people.id]
    }
  }
}

// The timer runs every minute. Where it does not, the host has found no functions or the configuration has faults.
resource silent 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'retrain-silent'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Retrain Trigger: silent'
    description: 'The timer has not run: does the host find its functions (hooks/postdeploy), is the configuration sound (GET /api/status)?'
    severity: 1
    enabled: true
    scopes: [insights.id]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: 'requests | where name == "tick"'
          timeAggregation: 'Count'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(email) ? [] : [people.id]
    }
  }
}
