package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Annotations of pods that say how a played node treats them: a pod that never
// gets ready, with the reason; a pod that ends with an exit code.
const (
	failAnnotation = "kubetest/fail"
	exitAnnotation = "kubetest/exit"
)

// nodes plays kubelets: it registers ready nodes, and takes pods that are bound
// to them to Running (or Succeeded, for a Job's) and, once deleted, away. No
// container runs.
type nodes struct {
	client kubernetes.Interface
	ips    atomic.Uint32
}

// playNodes plays n nodes until ctx ends.
func playNodes(ctx context.Context, rc *rest.Config, n int) error {
	rc = rest.CopyConfig(rc)
	rc.QPS, rc.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return err
	}
	k := &nodes{client: client}
	for i := range n {
		if err := k.register(ctx, fmt.Sprintf("node-%d", i)); err != nil {
			return err
		}
	}
	f := informers.NewSharedInformerFactoryWithOptions(client, 0)
	informer := f.Core().V1().Pods().Informer()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second))
	add := func(o any) {
		if key, err := cache.MetaNamespaceKeyFunc(o); err == nil {
			queue.Add(key)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }}); err != nil {
		return err
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	for range 4 {
		go k.work(ctx, queue, informer.GetStore())
	}
	<-ctx.Done()
	queue.ShutDown()
	return nil
}

func (k *nodes) register(ctx context.Context, name string) error {
	api := k.client.CoreV1().Nodes()
	n, err := api.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // from before the server was started again
	}
	if err != nil {
		return err
	}
	capacity := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("1000")}
	now := metav1.Now()
	n.Status = corev1.NodeStatus{Capacity: capacity, Allocatable: capacity,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: name}},
		NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.37.2-played", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "played://0"}}
	_, err = api.UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}

func (k *nodes) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], pods cache.Store) {
	for {
		key, quit := queue.Get()
		if quit {
			return
		}
		if o, ok, _ := pods.GetByKey(key); ok {
			if err := k.sync(ctx, o.(*corev1.Pod)); err != nil {
				queue.AddRateLimited(key)
			} else {
				queue.Forget(key)
			}
		}
		queue.Done(key)
	}
}

// sync takes one pod a step on.
func (k *nodes) sync(ctx context.Context, p *corev1.Pod) error {
	if p.Spec.NodeName == "" {
		return nil
	}
	api := k.client.CoreV1().Pods(p.Namespace)
	if p.DeletionTimestamp != nil {
		zero := int64(0)
		err := api.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.UID}})
		return unlessGone(err)
	}
	if p.Status.Phase != corev1.PodPending || p.Status.StartTime != nil {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": k.status(p)})
	if err != nil {
		return err
	}
	_, err = api.Patch(ctx, p.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	return unlessGone(err)
}

// status is the pod's state as its annotations ask for it.
func (k *nodes) status(p *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	ip := k.ips.Add(1)
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, HostIP: "127.0.0.1",
		PodIP: fmt.Sprintf("10.244.%d.%d", ip>>8&255, ip&255)}
	s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	ready, state := corev1.ConditionTrue, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	code, ends := p.Annotations[exitAnnotation]
	if reason := p.Annotations[failAnnotation]; reason != "" {
		ready, s.Phase = corev1.ConditionFalse, corev1.PodPending
		state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "the annotation " + failAnnotation + " asks for it"}}
	} else if ends || ofJob(p) {
		exit, _ := strconv.Atoi(code)
		ready, s.Phase = corev1.ConditionFalse, corev1.PodSucceeded
		if exit != 0 {
			s.Phase = corev1.PodFailed
		}
		state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(exit), Reason: "Completed", StartedAt: now, FinishedAt: now}}
	}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		v := ready
		if t == corev1.PodInitialized {
			v = corev1.ConditionTrue
		}
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: v, LastTransitionTime: now})
	}
	for _, c := range p.Spec.Containers {
		started := ready == corev1.ConditionTrue
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: started, Started: &started, State: state})
	}
	return s
}

func ofJob(p *corev1.Pod) bool {
	o := metav1.GetControllerOf(p)
	return o != nil && o.Kind == "Job"
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
