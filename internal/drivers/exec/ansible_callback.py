"""Writes what every task did to the file of TRUEUP_REPORT, one JSON line each."""
import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: trueup_report
type: aggregate
short_description: task results for trueup
description: Writes the result of every task to the file that TRUEUP_REPORT names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "trueup_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.play = ""
        self.out = open(os.environ["TRUEUP_REPORT"], "w", encoding="utf-8")

    def put(self, **line):
        self.out.write(json.dumps(line, default=str) + "\n")
        self.out.flush()

    def result(self, status, result, ignore_errors=False):
        r, task = result._result, result._task
        hidden = bool(task.no_log or r.get("_ansible_no_log") or "censored" in r)
        self.put(event="task", status=status, ignored=bool(ignore_errors), host=result._host.get_name(), play=self.play,
                 task=task.get_name(), module=str(task.action), path=task.get_path() or "", hidden=hidden,
                 changed=bool(r.get("changed")), diff=None if hidden else r.get("diff"),
                 msg="" if hidden else str(r.get("msg", ""))[:2000])

    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name()

    def v2_runner_on_ok(self, result):
        self.result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result("failed", result, ignore_errors)

    def v2_runner_on_unreachable(self, result):
        self.result("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self.result("skipped", result)

    def v2_playbook_on_stats(self, stats):
        self.put(event="end", hosts=len(stats.processed))
