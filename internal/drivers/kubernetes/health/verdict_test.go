package health

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	return u
}

const (
	deploymentHead = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, generation: 2, creationTimestamp: 2030-01-01T10:00:00Z, managedFields: [{manager: trueup, operation: Apply, time: 2030-01-01T12:00:00Z}]}\n"
	custom         = "apiVersion: example.com/v1\nkind: Widget\n"
	available      = "{type: Available, status: 'True'}"
)

// Each line is one of the traps: what the API server shows, and what it means.
func TestAssess(t *testing.T) {
	lazy := func(class string) bool { return class == "local" }
	for name, c := range map[string]struct {
		text  string
		state State
		why   string
	}{
		"rolled out":                     {deploymentHead + "spec: {replicas: 2, progressDeadlineSeconds: 600}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [" + available + ", {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}", Ready, ""},
		"not seen":                       {deploymentHead + "spec: {replicas: 2}\nstatus: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [" + available + "]}", Waiting, "generation 2"},
		"no status":                      {deploymentHead + "spec: {replicas: 2}", Waiting, "0 of 2 pods there"},
		"half":                           {deploymentHead + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 3, updatedReplicas: 1}", Waiting, "1 of 3 pods updated"},
		"old pods":                       {deploymentHead + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 4, updatedReplicas: 3}", Waiting, "1 old pods have still to end"},
		"deadline":                       {deploymentHead + "spec: {replicas: 1, progressDeadlineSeconds: 60}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: 'ReplicaSet \"a-1\" has timed out progressing.', lastUpdateTime: 2030-01-01T12:01:00Z}]}", Failed, "made no progress for 1m0s: ReplicaSet"},
		"deadline of an earlier rollout": {deploymentHead + "spec: {replicas: 1, progressDeadlineSeconds: 60}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, lastUpdateTime: 2030-01-01T12:00:30Z}]}", Waiting, "not begun"},
		"paused":                         {deploymentHead + "spec: {replicas: 2, paused: true}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}", Ready, ""},
		"paused with old pods":           {deploymentHead + "spec: {replicas: 2, paused: true}\nstatus: {observedGeneration: 2, replicas: 2, availableReplicas: 2}", Waiting, "paused with 0 of 2 pods updated"},
		"paused and short":               {deploymentHead + "spec: {replicas: 2, paused: true}\nstatus: {observedGeneration: 2, replicas: 2, availableReplicas: 1}", Waiting, "paused with 1 of 2"},
		"being deleted":                  {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, deletionTimestamp: 2030-01-01T10:00:00Z}", Waiting, "being deleted"},
		"stateful":                       {"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a, generation: 1}\nspec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}}\nstatus: {observedGeneration: 1, replicas: 3, readyReplicas: 3, updatedReplicas: 2}", Waiting, "2 of 3 pods updated"},
		"stateful by hand":               {"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a, generation: 1}\nspec: {replicas: 3, updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 0}", Ready, ""},
		"by hand, not ready":             {"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a, generation: 1}\nspec: {replicas: 3, updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, readyReplicas: 2}", Waiting, "2 of 3 pods ready"},
		"daemons":                        {"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a, generation: 1}\nstatus: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberReady: 2, numberAvailable: 2}", Waiting, "1 of 2 pods updated"},
		"daemons by hand":                {"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a, generation: 1}\nspec: {updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberReady: 2}", Ready, ""},
		"daemons, new":                   {"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a, generation: 1}\nspec: {updateStrategy: {type: OnDelete}}", Waiting, "not seen"},
		"job runs":                       {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nspec: {completions: 2}\nstatus: {startTime: 2030-01-01T10:00:00Z, active: 1, succeeded: 1, failed: 3}", Waiting, "1 of 2 pods succeeded, 3 failed"},
		"job complete":                   {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nstatus: {conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}", Ready, ""},
		"job failed":                     {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nstatus: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]}", Failed, "BackoffLimitExceeded"},
		"job suspended":                  {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nspec: {suspend: true}", Ready, ""},
		"job not started":                {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}", Waiting, "not started"},
		"cron job":                       {"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}", Ready, ""},
		"claim":                          {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {storageClassName: fast}\nstatus: {phase: Pending}", Waiting, "not bound"},
		"claim bound":                    {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nstatus: {phase: Bound}", Ready, ""},
		"claim lost":                     {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nstatus: {phase: Lost}", Failed, "lost"},
		"claim for later":                {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {storageClassName: local}\nstatus: {phase: Pending}", Ready, ""},
		"claim of a pod":                 {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, annotations: {volume.kubernetes.io/selected-node: n1}}\nspec: {storageClassName: local}\nstatus: {phase: Pending}", Waiting, "not bound"},
		"service":                        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: ClusterIP}", Ready, ""},
		"load balancer":                  {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1}", Waiting, "no address"},
		"balances":                       {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}", Ready, ""},
		"ingress":                        {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}", Ready, ""},
		"no metrics":                     {"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nstatus: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: FailedGetResourceMetric}]}", Ready, ""},
		"nothing to scale":               {"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nstatus: {conditions: [{type: AbleToScale, status: 'False', reason: FailedGetScale, message: not there}]}", Waiting, "FailedGetScale: not there"},
		"crash loop":                     {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Running, containerStatuses: [{name: c, restartCount: 4, state: {waiting: {reason: CrashLoopBackOff, message: back-off 40s}}, lastState: {terminated: {exitCode: 3, reason: Error, message: no database}}}]}", Waiting, "container c: CrashLoopBackOff: back-off 40s, ended with 3: no database, 4 restarts"},
		"out of memory":                  {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Running, containerStatuses: [{name: c, state: {running: {}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}", Waiting, "ended with 137 (OOMKilled)"},
		"no image":                       {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: ErrImagePull, message: no such tag}}}]}", Waiting, "init container i: ErrImagePull: no such tag"},
		"no room":                        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/2 nodes are available}]}", Waiting, "not scheduled: Unschedulable: 0/2 nodes"},
		"pod failed":                     {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Failed, reason: Evicted, message: low on memory}", Failed, "Evicted: low on memory"},
		"pod done":                       {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Succeeded}", Ready, ""},
		"definition":                     {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nstatus: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}", Ready, ""},
		"definition, new":                {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}", Waiting, "nstall"},
		"names taken":                    {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nstatus: {conditions: [{type: NamesAccepted, status: 'False', reason: ListKindConflict, message: taken}]}", Failed, "taken"},
		"API away":                       {"apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: a}\nstatus: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints}]}", Waiting, "MissingEndpoints"},
		"API, new":                       {"apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: a}", Waiting, "nobody"},
		"webhooks":                       {"apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a, generation: 3}", Ready, ""},
		"namespace ends":                 {"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nstatus: {phase: Terminating}", Waiting, "terminating"},
		"volume failed":                  {"apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nstatus: {phase: Failed, message: disk gone}", Failed, "disk gone"},
		"no replicas":                    {"apiVersion: v1\nkind: ReplicationController\nmetadata: {name: a, generation: 1}\nspec: {replicas: 2}\nstatus: {observedGeneration: 1, readyReplicas: 1}", Waiting, "1 of 2"},
		"custom, ready":                  {custom + "metadata: {name: a, generation: 2}\nstatus: {conditions: [{type: Ready, status: 'True', observedGeneration: 2}]}", Ready, ""},
		"custom, stale":                  {custom + "metadata: {name: a, generation: 2}\nstatus: {conditions: [{type: Ready, status: 'True', observedGeneration: 1}]}", Waiting, "generation 1, not 2"},
		"custom, not ready":              {custom + "metadata: {name: a, generation: 2}\nstatus: {observedGeneration: 2, conditions: [{type: Ready, status: 'False', reason: NoQuota, message: none left}]}", Waiting, "none left"},
		"custom, stalled":                {custom + "metadata: {name: a, generation: 2}\nstatus: {observedGeneration: 2, conditions: [{type: Stalled, status: 'True', reason: Bad, message: never}]}", Failed, "never"},
		"custom, no status":              {custom + "metadata: {name: a, generation: 1}", Ready, ""},
	} {
		v := Assess(object(t, c.text), Facts{Managers: []string{"trueup"}, Lazy: lazy})
		if v.State != c.state || !strings.Contains(v.Why, c.why) || (v.Why == "") != (c.state == Ready) {
			t.Errorf("%s: %d %q, not %d %q", name, v.State, v.Why, c.state, c.why)
		}
	}
}

// A controller that tells nothing of generations gets a moment to report.
func TestAssessYoung(t *testing.T) {
	const applied = "managedFields: [{manager: trueup, operation: Apply, time: 2030-01-01T12:00:00Z}"
	const status = "status: {conditions: [{type: Ready, status: 'True'}]}"
	facts := Facts{Managers: []string{"trueup"}, Reports: true, Young: true}
	old := object(t, custom+"metadata: {name: a, generation: 2, "+applied+", {manager: widgets, operation: Update, subresource: status, time: 2030-01-01T11:59:59Z}]}\n"+status)
	if v := Assess(old, facts); v.State != Waiting || !strings.Contains(v.Why, "not reported") {
		t.Errorf("a status from before the change counts: %+v", v)
	}
	since := object(t, custom+"metadata: {name: a, generation: 2, "+applied+", {manager: widgets, operation: Update, subresource: status, time: 2030-01-01T12:00:00Z}]}\n"+status)
	if v := Assess(since, facts); v.State != Ready {
		t.Errorf("a status since the change does not count: %+v", v)
	}
	bare := object(t, custom+"metadata: {name: a, generation: 1, creationTimestamp: 2030-01-01T12:00:00Z}")
	if v := Assess(bare, facts); v.State != Waiting {
		t.Errorf("nobody has looked at it: %+v", v)
	}
	facts.Reports = false
	if v := Assess(bare, facts); v.State != Ready {
		t.Errorf("its kind has no status: %+v", v)
	}
	facts.Reports, facts.Young = true, false
	if v := Assess(old, facts); v.State != Ready {
		t.Errorf("it waits for ever for a controller that may have nothing to say: %+v", v)
	}
}
