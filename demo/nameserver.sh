# Sourced by run.sh: the demo's DNS server, and how to ask and change it.

port='' nameserver=''
tsig_secret=$(head -c 32 /dev/urandom | base64)

start_nameserver() {
  if [ -z "${NO_BIND-}" ] && command -v named >/dev/null && command -v nsupdate >/dev/null && command -v dig >/dev/null; then
    start_bind
  else
    start_own
  fi
  expect "$nameserver is up" 20 soa_answers
}
soa_answers() { [ -n "$(ask example.com SOA)" ]; }

start_bind() {
  local program
  nameserver="BIND $(named -v | sed -n 's/^BIND \([0-9.]*\).*/\1/p')"
  program=$(command -v named)
  port=$(free_port)
  printf 'demo:hmac-sha256:%s\n' "$tsig_secret" >"$work/tsig"
  # AppArmor keeps the system's named out of other directories; a copy is free.
  if grep -qs Y /sys/module/apparmor/parameters/enabled; then cp "$program" "$work/named" && program=$work/named; fi
  mkdir "$work/bind"
  cat >"$work/bind/example.com.zone" <<ZONE
\$ORIGIN example.com.
\$TTL 300
@    SOA ns1 hostmaster 1 3600 600 604800 300
@    NS  ns1
ns1  A   127.0.0.1
ZONE
  printf 'key demo { algorithm hmac-sha256; secret "%s"; };\n' "$tsig_secret" >"$work/bind/demo.key"
  cat >"$work/bind/named.conf" <<CONF
include "$work/bind/demo.key";
options { directory "$work/bind"; pid-file none; session-keyfile none; lock-file none;
  listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; notify no; dnssec-validation no; };
controls { };
zone "example.com" { type primary; file "example.com.zone";
  allow-transfer { key demo; }; update-policy { grant demo zonesub ANY; }; };
CONF
  start named "$program" -g -n 1 -c "$work/bind/named.conf"
}

# start_own starts the in-process server that trueup's tests use.
start_own() {
  nameserver="trueup's own test server"
  say "${bold}BIND is not there and could not be installed. This demo uses the small DNS$off"
  say "${bold}server of trueup's tests instead: it speaks transfer and signed update.$off"
  (cd "$top" && HOME=$user_home go build -o "$work/nameserver" ./demo/nameserver)
  start named "$work/nameserver" serve "$work" example.com
  local end=$((SECONDS + 20))
  until [ -s "$work/address" ]; do [ "$SECONDS" -lt "$end" ] || fail 'the DNS server does not start'; sleep 0.1; done
  port=$(sed 's/.*://' "$work/address")
}
own() {
  nameserver="trueup's own test server"
  say "${bold}BIND is not installed and could not be; this demo uses the small DNS server"
  say "of trueup's tests, which speaks transfer and signed update.$off"
  (cd "$top" && HOME=$user_home go build -o "$work/nameserver" ./demo/nameserver)
  start named "$work/nameserver" serve "127.0.0.1:$port" "$(cat "$work/tsig")" example.com
}
own() { [ -x "$work/nameserver" ]; }

# ask NAME TYPE gives the answers of the server, one a line.
ask() {
  if own; then "$work/nameserver" ask "127.0.0.1:$port" "$1" "$2"; else dig @127.0.0.1 -p "$port" +short +time=2 +tries=1 "$1" "$2"; fi
}

# dig_shown shows the question and the answer.
dig_shown() {
  if own; then show "nameserver ask 127.0.0.1:$port $1 $2"; else show "dig @127.0.0.1 -p $port +short $1 $2"; fi
  local answer
  answer=$(ask "$1" "$2")
  printf '%s\n' "${answer:-(no answer)}" | indent
}

# by_hand changes the zone behind trueup's back: lines of nsupdate.
by_hand() {
  local line
  if own; then show "nameserver update 127.0.0.1:$port <<END"; else show "nsupdate -k demo.key <<END"; fi
  printf '%s\n' "$@" END | sed "s/^/     $dim/; s/\$/$off/"
  if own; then
    for line in "$@"; do "$work/nameserver" update "127.0.0.1:$port" "$(cat "$work/tsig")" example.com "$line"; done
  else
    printf '%s\n' "server 127.0.0.1 $port" "$@" send | nsupdate -k "$work/bind/demo.key"
  fi
}
