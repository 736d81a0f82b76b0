package kube

import (
	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Kubernetes' libraries log to standard error by themselves, at times what was
// in an answer. All they have to tell comes as errors and warnings as well. It
// has to be set before anything runs: the setters are not safe for concurrency.
func init() {
	klog.SetLogger(logr.Discard())
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}
