package ssh

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseUnitShow(t *testing.T) {
	const two = "Id=app.service\nNames=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/app.service\nNeedDaemonReload=no\n\n" +
		"Id=none.service\nLoadState=not-found\nLoadError=org.freedesktop.systemd1.NoSuchUnit \"Unit none.service not found.\"\nActiveState=inactive\nSubState=dead\nUnitFileState=\n"
	got, err := parseUnitShow(two, 2)
	if err != nil || got[0]["UnitFileState"] != "enabled" || got[1]["LoadState"] != "not-found" ||
		got[1]["LoadError"] != `org.freedesktop.systemd1.NoSuchUnit "Unit none.service not found."` {
		t.Fatalf("%v %v", got, err)
	}
	for name, text := range map[string]string{
		"cut short":    two[:strings.Index(two, "\n\n")],
		"empty":        "",
		"words":        "System has not been booted with systemd as init system (PID 1). Can't operate.\n",
		"no state":     "Id=a\n\nId=b\n",
		"a key twice":  "Id=a\nId=a\n\nId=b\n",
		"one too many": two + "\nId=c\nLoadState=x\nActiveState=y\n",
	} {
		if got, err := parseUnitShow(text, 2); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseDpkg(t *testing.T) {
	got, err := parseDpkg("cron\tamd64\tinstall\tok\tinstalled\t3.0pl1-162\n" +
		"nginx\tamd64\thold\tok\tinstalled\t1.22.1-9\n" +
		"old\tall\tdeinstall\tok\tconfig-files\t1.0\n" +
		"libc6\tamd64\tinstall\tok\tinstalled\t2.36\nlibc6\ti386\tdeinstall\tok\tnot-installed\t\n" +
		"half\tamd64\tinstall\tok\thalf-configured\t2\nbad\tamd64\tinstall\treinstreq\tinstalled\t3\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]pkg{
		"cron": {Installed: true, Version: "3.0pl1-162"}, "nginx": {Installed: true, Version: "1.22.1-9", Held: true},
		"old": {}, "libc6": {Installed: true, Version: "2.36"}, "libc6:i386": {}, "none": {},
		"half": {Broken: true, Version: "2"}, "bad": {Broken: true, Version: "3"},
	} {
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
	for _, text := range []string{"dpkg-query: error\n", "a\tb\tc\td\te\n", "a\tall\tinstall\tok\tteleported\t1\n"} {
		if got, err := parseDpkg(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseRPM(t *testing.T) {
	got, err := parseRPM("bash\tx86_64\t0\t5.1.8-9.el9\npackage nginx is not installed\nbind\tx86_64\t32\t9.16.23-18.el9\n")
	want := map[string]pkg{"bash": {Installed: true, Version: "5.1.8-9.el9"}, "bash.x86_64": {Installed: true, Version: "5.1.8-9.el9"},
		"bind": {Installed: true, Version: "32:9.16.23-18.el9"}, "bind.x86_64": {Installed: true, Version: "32:9.16.23-18.el9"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v %v", got, err)
	}
	if got, err := parseRPM("error: rpmdb open failed\n"); err == nil {
		t.Fatal(got)
	}
}

func TestParseAPK(t *testing.T) {
	got, err := parseAPK("C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:busybox\nV:1.36.1-r5\n")
	want := map[string]pkg{"musl": {Installed: true, Version: "1.2.4-r2"}, "busybox": {Installed: true, Version: "1.36.1-r5"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v %v", got, err)
	}
	if got, err := parseAPK("P:musl\n\nP:x\nV:1\n"); err == nil {
		t.Fatal(got)
	}
}

func TestSchedules(t *testing.T) {
	for _, ok := range []string{"@daily", "* * * * *", "*/5 0-6,22 1 jan-mar mon", "15 3 * * 7", "0 0 1-31/2 12 *"} {
		if err := checkSchedule(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "@now", "* * * *", "* * * * * *", "60 * * * *", "5-1 * * * *", "5/2 * * * *", "*/0 * * * *",
		"* 24 * * *", "* * 0 * *", "* * * foo *", "* * * * 8", "1,,2 * * * *", "* * * *\n*", "-1 * * * *"} {
		if err := checkSchedule(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestCrontabBlocks(t *testing.T) {
	j := cronJob{Schedule: "@daily", User: "ann", Command: "echo 100\\%", Env: map[string]string{"B": " x", "A": "1"}}
	if want := "# begin trueup job\nA=1\nB=\" x\"\n@daily echo 100\\%\n# end trueup job\n"; j.block("job") != want {
		t.Fatalf("%q", j.block("job"))
	}
	text := "MAILTO=me\n* * * * * mine\n" + j.block("job") + "# end trueup joker\n@weekly theirs"
	before, block, after, err := cutCrontab(text, "job")
	if err != nil || before != "MAILTO=me\n* * * * * mine\n" || block != j.block("job") || after != "# end trueup joker\n@weekly theirs" {
		t.Fatalf("%q %q %q %v", before, block, after, err)
	}
	for _, bad := range []string{"# begin trueup job\n* * * * * x\n", "# end trueup job\n", j.block("job") + j.block("job")} {
		if _, _, _, err := cutCrontab(bad, "job"); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestSysctlNames(t *testing.T) {
	for name, want := range map[string]string{"net.ipv4.ip_forward": "net/ipv4/ip_forward", "net/ipv4/conf/eth0.1/rp_filter": "net/ipv4/conf/eth0.1/rp_filter",
		"net.ipv4.conf.eth0/1.rp_filter": "net/ipv4/conf/eth0.1/rp_filter", "kernel.core-pattern": "kernel/core-pattern"} {
		if got, err := sysctlPath(name); got != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "x", "/etc/passwd", "net..x", "../x/y", "a/../b", "a b.c", "net.*.x", "a/./b", "kernel.x\n"} {
		if got, err := sysctlPath(bad); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

// FuzzOutputs: whatever a host says, it is read or refused, and a crontab is
// never changed outside of the job's marks.
func FuzzOutputs(f *testing.F) {
	f.Add("Id=a\nLoadState=loaded\nActiveState=active\n", "job")
	f.Add("cron\tamd64\tinstall\tok\tinstalled\t3.0\n", "x")
	f.Add("# begin trueup job\n@daily x\n# end trueup job\n", "job")
	f.Add("P:a\nV:1\n\n", "*/5 * * * *")
	f.Fuzz(func(t *testing.T, text, word string) {
		if got, err := parseUnitShow(text, 1); err == nil && len(got) != 1 {
			t.Fatal(got)
		}
		_, _ = parseDpkg(text)
		_, _ = parseRPM(text)
		_, _ = parseAPK(text)
		if before, block, after, err := cutCrontab(text, word); err == nil && before+block+after != text {
			t.Fatalf("%q became %q", text, before+block+after)
		}
		if p, err := sysctlPath(word); err == nil && (strings.Contains(p, "..") && strings.Contains("/"+p+"/", "/../") || strings.HasPrefix(p, "/")) {
			t.Fatalf("%q leads to %q", word, p)
		}
		_ = checkSchedule(word)
	})
}
