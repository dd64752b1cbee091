#!/usr/bin/env bash
# Checks the GPU back end on a machine that has a GPU, meant to take less than ten
# minutes, and writes what it measured into deploy/gpu: DATE-DEVICE.txt for people, .json for programs.
#
#   deploy/gpu-check.sh [--small] [--out FOLDER] [--device cuda:N]
#
#   --small    a quick run for the fake driver and for CI: no time is judged
#   --out      the reports' folder in place of deploy/gpu
#   --device   the GPU, cuda if not given
#
#   WEIR=PATH      a weir binary built elsewhere and carried along: then the machine
#                  needs neither Go nor a network, only bash, awk and coreutils.
#                  Without it, it is built from this tree
#   WEIR_LIBCUDA   a library in place of libcuda.so.1, such as the fake driver's
#
# It exits with 0 where no row failed, be some not run; each of these says why.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The bars.
rate_bar=10000000 # rows/s of the wide network, batches of 1024
half_rate_bar=60000000 # the same on tensor cores
path_bar=1000000  # transactions/s of the whole path, on 16 cores
path_p99_bar=5    # ms, of a transaction on it
swap_bar=1000     # us that p99 may rise while bundles are swapped
late_bar=60       # ms: the deadline of 50, and the batch on the CPU
back_bar=5000     # ms from a fault to a GPU that scores again
# us of a batch of so many rows, from shared memory to the answer
declare -A p50_bar=([64]=30) p99_bar=([64]=60 [1024]=200)

small=false out=$root/deploy/gpu device=cuda
while [ $# -gt 0 ]; do
  case $1 in
  --small) small=true; shift ;;
  --out | --device)
    [ $# -ge 2 ] || { echo "gpu-check: $1 needs a value" >&2; exit 2; }
    declare "${1#--}=$2"; shift 2 ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit ;;
  *) echo "gpu-check: $1 is not expected; --help says what is" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d) && began=$SECONDS
running= # a weir that this script started
trap '[ -z "$running" ] || kill -KILL "$running" 2>/dev/null; rm -rf "$work"' EXIT
# The rows of the report. Where there is no bar the verdict is measured.
names=() bars=() figures=() verdicts=() reasons=()
row() { # NAME BAR MEASURED passed|failed|measured|"not run" [REASON]
  names+=("$1") bars+=("$2") figures+=("$3") verdicts+=("$4") reasons+=("${5:-}")
  printf '%-8s %-46s %s%s\n' "$4" "$1" "$3" "${5:+ ($5)}"
}

# flatten turns a line of JSON into lines of path, tab, value.
flatten() {
  awk '
  function ch() { return substr(s, i, 1) }
  function str(  r, c) {
    for (i++; i <= length(s) && (c = ch()) != "\""; i++) { if (c == "\\") { i++; c = ch() } r = r c }
    i++; return r
  }
  function value(path,  n, k) {
    if (ch() == "{") {
      for (i++; i <= length(s) && ch() != "}";) { k = str(); i++; value(path == "" ? k : path "." k); if (ch() == ",") i++ }
      i++
    } else if (ch() == "[") {
      for (i++; i <= length(s) && ch() != "]";) { value(path "." n++); if (ch() == ",") i++ }
      i++
    } else if (ch() == "\"") print path "\t" str()
    else { match(substr(s, i), /^[^],}]+/); print path "\t" substr(s, i, RLENGTH); i += RLENGTH }
  }
  { s = s $0 } END { i = 1; if (s != "") value("") }'
}
get() { awk -F'\t' -v path="$2" '$1 == path { print $2; exit }' "$work/$1.flat" 2>/dev/null; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; }
within() { at_most "$1" "$2" && at_most "$3" "$4"; }
round() { awk -v a="$1" -v d="${2:-1}" 'BEGIN { printf "%.*f", d, a }'; }

# measure runs weir with a limit in seconds, and keeps its last line as NAME.json. It
# returns what weir does; what it said last is in $said where that is not 0.
measure() { # NAME SECONDS ARGUMENTS...
  local name=$1 limit=$2 code; shift 2
  timeout --kill-after=5 "$limit" "$weir" "$@" --json >"$work/$name.out" 2>"$work/$name.err"; code=$?
  keep "$name"
  said="exit code $code: $(tail -n 1 "$work/$name.err")"
  [ $code -ne 124 ] || said="not done within $limit s"
  return $code
}
keep() {
  tail -n 1 "$work/$1.out" | grep '^{' >"$work/$1.json"
  flatten <"$work/$1.json" >"$work/$1.flat"
}
# timed is row for a figure of time, which a quick run does not judge.
timed() { # NAME BAR MEASURED CONDITION...
  local name=$1 bar=$2 measured=$3; shift 3
  if $small; then row "$name" "$bar" "$measured" "not run" "a quick run judges no time"
  elif [ "$bar" = none ]; then row "$name" "$bar" "$measured" measured
  elif "$@"; then row "$name" "$bar" "$measured" passed
  else row "$name" "$bar" "$measured" failed; fi
}

weir=${WEIR:-}
if [ -z "$weir" ]; then
  command -v go >/dev/null || { echo "gpu-check: there is no Go here to build weir with: WEIR=PATH names a binary that was built elsewhere" >&2; exit 2; }
  weir=$work/weir
  (cd "$root" && go build -o "$weir" ./cmd/weir) || exit 2
fi
[ -x "$weir" ] || { echo "gpu-check: WEIR=$weir is no program" >&2; exit 2; }
weir=$(realpath "$weir")
scale=(--rows 10000000 --seconds 3 --swaps 100) networks=shipped,wide tiers=64,256,1024,4096 half_tiers=1024,4096 load=12 deadline=50ms
if $small; then # the fake driver scores a thousand times as slowly as a GPU
  scale=(--rows 2000 --seconds 0.05 --swaps 3) networks=shipped tiers=64,256 half_tiers=64 load=5 deadline=1s
fi
common=(--device "$device" --device-deadline "$deadline")

found() {
  measure found 60 version && measure bench 400 bench device --device "$device" --device-deadline 20s --networks "$networks" --tiers "$tiers" "${scale[@]}"
  local code=$? why
  gpu=$(get bench gpu.name)
  if [ -z "$gpu" ]; then
    why=$(get bench reason)
    row "a GPU that scores" "the driver is r525 or later, the GPU 8.0 or later" none failed "${why:-$said}"
    return 1
  fi
  row "a GPU that scores" "the driver is r525 or later, the GPU 8.0 or later" \
    "$gpu, compute capability $(get bench gpu.compute_capability), CUDA $(get bench gpu.cuda_driver)" passed
  [ "$(get bench gpu.pinned)" = true ] && row "it reads batches where they are written" "memory shared with the scorer can be pinned" yes passed ||
    row "it reads batches where they are written" "memory shared with the scorer can be pinned" no failed "the driver refused to pin it: batches are copied"
  [ $code -ne 124 ] || row "weir bench device" "measures everything" - failed "$said"
  return 0
}

bits_and_times() { # INDEX NAME
  local n=networks.$1 name=$2 tier rows p50 p99 rate differ bar="0 of ${scale[1]} rows or more differ"
  rows=$(get bench "$n.bits.rows") differ=$(get bench "$n.bits.differences")
  if [ -z "$rows" ]; then row "bits of the $name network" "$bar" - failed "the measurement ended before"; return; fi
  [ "$differ" = 0 ] && [ "$rows" -ge "${scale[1]}" ] && row "bits of the $name network" "$bar" "$differ of $rows" passed ||
    row "bits of the $name network" "$bar" "$differ of $rows" failed
  for tier in 0 1 2 3; do
    rows=$(get bench "$n.tiers.$tier.rows")
    [ -n "$rows" ] || continue
    local t=$n.tiers.$tier limit=0
    bar=none
    [ -z "${p99_bar[$rows]:-}" ] || bar="${p50_bar[$rows]:+p50 at most ${p50_bar[$rows]}, }p99 at most ${p99_bar[$rows]} us"
    p50=$(get bench "$t.gpu.p50_us") p99=$(get bench "$t.gpu.p99_us")
    timed "latency of $rows rows, $name" "$bar" \
      "p50 $(round "$p50") p99 $(round "$p99") p99.9 $(round "$(get bench "$t.gpu.p999_us")") us; CPU p50 $(round "$(get bench "$t.cpu.p50_us")") p99 $(round "$(get bench "$t.cpu.p99_us")")" \
      within "$p50" "${p50_bar[$rows]:-1e9}" "$p99" "${p99_bar[$rows]:-1e9}"
    bar=none limit=0
    [ "$name $rows" != "wide 1024" ] || { bar="at least $rate_bar rows/s" limit=$rate_bar; }
    rate=$(get bench "$t.gpu.rows_per_s")
    timed "throughput of $rows rows, $name" "$bar" "$(round "$rate" 0) rows/s; CPU, one core, $(round "$(get bench "$t.cpu.rows_per_s")" 0)" at_most "$limit" "$rate"
  done
  local s=$n.swaps failed wrong
  failed=$(get bench "$s.failed") wrong=$(get bench "$s.wrong")
  if [ "$failed $wrong $(get bench "$s.swaps")" = "0 0 ${scale[5]}" ]; then row "bundles swapped under load, $name" "${scale[5]} swaps: no batch fails or has two models" "$(get bench "$s.swaps") swaps, $(get bench "$s.batches") batches, 0 failed, 0 wrong" passed
  else row "bundles swapped under load, $name" "${scale[5]} swaps: no batch fails or has two models" "${failed:--} failed, ${wrong:--} wrong, $(get bench "$s.swaps") swaps" failed; fi
  p50=$(get bench "$s.without.p99_us") p99=$(get bench "$s.during.p99_us")
  timed "p99 while bundles are swapped, $name" "at most $swap_bar us more than without" "$(round "$p99") us, without swaps $(round "$p50")" at_most "$p99" "$(awk -v a="$p50" -v b=$swap_bar 'BEGIN { print a + b }')"
}

# tensor_cores measures the float16 kernel.
tensor_cores() {
  local index=0 name tier rows rate limit bar n differ
  measure half 300 bench device --device "$device" --device-deadline 20s --arithmetic float16 --networks "$networks" --tiers "$half_tiers" "${scale[@]:0:4}" --swaps 0
  for name in ${networks//,/ }; do
    n=networks.$((index++)) bar="0 of ${scale[1]} rows or more are off by 1e-3"
    rows=$(get half "$n.bits.rows") differ=$(get half "$n.bits.differences")
    if [ -z "$rows" ]; then row "tensor cores: largest difference, $name" "$bar" - failed "$said"; continue; fi
    [ "$differ" = 0 ] && [ "$rows" -ge "${scale[1]}" ] && row "tensor cores: largest difference, $name" "$bar" "$(get half "$n.bits.largest_difference") in $rows rows" passed ||
      row "tensor cores: largest difference, $name" "$bar" "$differ of $rows rows, the largest $(get half "$n.bits.largest_difference")" failed
    for tier in 0 1; do
      rows=$(get half "$n.tiers.$tier.rows") bar=none limit=0
      [ -n "$rows" ] || continue
      [ "$name $rows" != "wide 1024" ] || { bar="at least $half_rate_bar rows/s" limit=$half_rate_bar; }
      rate=$(get half "$n.tiers.$tier.gpu.rows_per_s")
      timed "tensor cores: throughput of $rows rows, $name" "$bar" "$(round "$rate" 0) rows/s, p50 $(round "$(get half "$n.tiers.$tier.gpu.p50_us")") us" at_most "$limit" "$rate"
    done
  done
}

# path_bar_of is a bar of the whole path, which is of the GPU: the CPU stands beside it.
path_bar_of() { if [ "$1" = cpu ]; then echo none; else echo "$2"; fi; }
whole_path() {
  local seconds=20 rate=20000 warm=500000 d
  ! $small || { seconds=1 rate=500 warm=2000; }
  for d in "$device" cpu; do
    measure "pipeline-${d%:*}" 120 bench pipeline --device "$d" --device-deadline "$deadline" --free --seconds $seconds --warm $warm &&
      timed "whole path, sustained, --device $d" "$(path_bar_of "$d" "at least $path_bar transactions/s")" "$(round "$(get "pipeline-${d%:*}" tx_per_s)" 0) transactions/s, $(round "$(get "pipeline-${d%:*}" cpu_us_per_tx)" 2) us of CPU each" at_most $path_bar "$(get "pipeline-${d%:*}" tx_per_s)" ||
      row "whole path, sustained, --device $d" none - failed "$said"
    measure "latency-${d%:*}" 120 bench latency --device "$d" --device-deadline "$deadline" --rate $rate --seconds $seconds --warm 3 || {
      row "whole path, latency, --device $d" none - failed "$said"; continue; }
    timed "whole path, latency at $rate/s, --device $d" "$(path_bar_of "$d" "p99 at most $path_p99_bar ms")" "p50 $(get "latency-${d%:*}" p50_ms) p99 $(get "latency-${d%:*}" p99_ms) p99.9 $(get "latency-${d%:*}" p999_ms) ms; $(round "$(get "latency-${d%:*}" gpu_share)" 3) of the batches on the GPU" at_most "$(get "latency-${d%:*}" p99_ms)" $path_p99_bar
    [ "$(get "latency-${d%:*}" sent)" = "$(get "latency-${d%:*}" decided)" ] && row "all are decided, --device $d" "none is lost" "$(get "latency-${d%:*}" decided)" passed ||
      row "all are decided, --device $d" "none is lost" "$(get "latency-${d%:*}" decided) of $(get "latency-${d%:*}" sent)" failed
  done
}

# worker prints the process that a weir has started, which holds the GPU.
worker() { cat /proc/"$1"/task/*/children 2>/dev/null | tr ' ' '\n' | grep -m 1 .; }

# disturbed has weir score, disturbs it with a function, and judges what came of it.
disturbed() { # NAME FUNCTION
  local name=$1 id=$2 bar="no score is wrong, no batch late, the GPU back" i worker_pid code l=networks.0.load
  "$weir" bench device "${common[@]}" --networks shipped --tiers 64 --load ${load}s --json >"$work/$id.out" 2>"$work/$id.err" &
  running=$!
  for i in $(seq 300); do grep -q '^under load' "$work/$id.out" && break; sleep .1; done
  sleep 1
  worker_pid=$(worker $running)
  if [ -z "$worker_pid" ]; then
    kill -KILL $running 2>/dev/null; wait $running 2>/dev/null; running=
    row "$name" "$bar" - failed "weir has no process that holds the GPU: $(tail -n 1 "$work/$id.err")"; return
  fi
  "$id" "$worker_pid"
  wait $running; code=$? running=
  keep "$id"
  local wrong longest back recoveries fallbacks
  wrong=$(get "$id" $l.wrong) longest=$(get "$id" $l.longest_ms) back=$(get "$id" $l.recovery_ms)
  recoveries=$(get "$id" $l.recoveries) fallbacks=$(get "$id" $l.fallbacks)
  local text="$(get "$id" $l.batches) batches, ${wrong:--} wrong, ${fallbacks:--} fell to the CPU, longest $(round "${longest:-0}") ms; ${recoveries:-0} recoveries, the last after $(round "${back:-0}" 0) ms"
  if [ $code -ne 0 ] || [ "$wrong" != 0 ] || [ "${recoveries:-0}" = 0 ]; then row "$name" "$bar" "$text" failed "exit code $code; $(tail -n 1 "$work/$id.err")"; return; fi
  row "$name" "no score is wrong, the GPU back" "$text" passed
  timed "$name: how late" "at most $late_bar ms" "$(round "$longest") ms" at_most "$longest" $late_bar
  timed "$name: how soon back" "at most $back_bar ms" "$(round "$back" 0) ms" at_most "$back" $back_bar
}
killed() { kill -KILL "$1"; }
stopped() { kill -STOP "$1"; }
# illegal arms the fake driver's sticky error for a batch soon to come, by the file that
# it shares: the batch's number at 8, the fault at 16.
illegal() {
  local next byte bytes=
  printf '\2' | dd of="$CUDA_FAKE_CONTROL" bs=1 seek=16 conv=notrunc status=none
  next=$(($(od -An -t d8 -N 8 "$CUDA_FAKE_CONTROL") + 40))
  for byte in 0 1 2 3 4 5 6 7; do printf -v byte '\\%03o' $((next >> 8 * byte & 255)); bytes+=$byte; done
  printf "$bytes" | dd of="$CUDA_FAKE_CONTROL" bs=1 seek=8 conv=notrunc status=none
}

faults() {
  disturbed "the GPU's process killed" killed
  disturbed "the GPU's process stopped" stopped
  if $fake; then
    export CUDA_FAKE_CONTROL=$work/control
    head -c 4096 /dev/zero >"$CUDA_FAKE_CONTROL"
    disturbed "an illegal address" illegal
    unset CUDA_FAKE_CONTROL
  else row "an illegal address" "no score is wrong, the GPU back" - "not run" "weir has no kernel that is wrong on purpose, and nothing outside its process can make one"; fi
}

peers() {
  local lib why text
  for lib in torch onnxruntime; do
    if ! command -v python3 >/dev/null; then why="there is no python3"
    elif ! why=$(python3 -c "import $lib" 2>&1); then why=$(tail -n 1 <<<"$why")
    elif $small; then why="a quick run measures no peer"
    elif [ $lib = onnxruntime ]; then why="only torch has a measurement"
    elif text=$(timeout 120 python3 - <<'PYTHON' 2>"$work/torch.err"
import time, torch
torch.backends.cuda.matmul.allow_tf32 = False
assert torch.cuda.is_available(), "torch sees no GPU"
k, w, g = 8, 256, torch.Generator().manual_seed(1)
draw = lambda *s: (torch.rand(*s, generator=g) * .1).cuda()
w1, w2, w3 = draw(k, 64, w), draw(k, w, w), draw(k, w, 1)
with torch.inference_mode():
    for rows in (64, 256, 1024, 4096):
        x, y = torch.rand(rows, 64, generator=g).pin_memory(), torch.empty(rows).pin_memory()
        took, began = [], time.perf_counter()
        while time.perf_counter() - began < 3:
            start = time.perf_counter()
            d = x.cuda(non_blocking=True).expand(k, rows, 64)
            h = torch.relu(torch.bmm(torch.relu(torch.bmm(d, w1)), w2))
            y.copy_(torch.sigmoid(torch.bmm(h, w3)).mean(0).squeeze(1), non_blocking=True)
            torch.cuda.synchronize()
            took.append(time.perf_counter() - start)
        took = sorted(took[len(took) // 10:])
        p = lambda q: 1e6 * took[min(int(q * len(took)), len(took) - 1)]
        print(f"{rows} rows p50 {p(.5):.1f} p99 {p(.99):.1f} us, {rows * len(took) / sum(took):.0f} rows/s;", end=" ")
print("torch", torch.__version__)
PYTHON
    ); then
      local peer own
      peer=$(sed -n 's/^64 rows p50 \([0-9.]*\).*/\1/p' <<<"$text") own=$(get bench networks.1.tiers.0.gpu.p50_us)
      timed "peer $lib, eager: 64-256-256-1, 8 members, float32" "a third of its p50 at 64 rows at most" "weir p50 $(round "$own") us; $text" at_most "$(awk -v a="$own" 'BEGIN { print 3 * a }')" "$peer"
      continue
    else why=$(tail -n 1 "$work/torch.err"); fi
    row "peer $lib" none - "not run" "$why"
  done
}

sanitizer() {
  local bar="0 errors" tool name="the kernels under compute-sanitizer" said check kernel
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -n 1)
  if [ -z "$tool" ]; then row "$name" "$bar" - "not run" "compute-sanitizer is neither in PATH nor in /usr/local/cuda*/bin"; return; fi
  if $fake; then row "$name" "$bar" - "not run" "the fake driver runs no kernel"; return; fi
  for check in memcheck racecheck; do
    for kernel in float32 float16; do
      if timeout 60 "$tool" --tool $check --target-processes all --error-exitcode 9 "$weir" bench device --device "$device" --device-deadline 60s \
        --arithmetic $kernel --networks shipped --tiers 64 --rows 4096 --seconds 0.1 --swaps 1 >"$work/$check.out" 2>&1; then
        row "$name: $check, $kernel" "$bar" "$(grep -h 'ERROR SUMMARY\|RACECHECK SUMMARY' "$work/$check.out" | tail -n 1)" passed
      else row "$name: $check, $kernel" "$bar" - failed "$(tail -n 1 "$work/$check.out")"; fi
    done
  done
}

# quoted prints a text as a JSON string.
quoted() {
  local s=${1//\\/\\\\}
  s=${s//\"/\\\"}
  printf '"%s"' "$(tr -d '\000-\037' <<<"$s")"
}

report() {
  local stamp name i sep= file
  stamp=$(date -u +%Y%m%dT%H%M%SZ)
  name=$stamp-$(tr -cs 'A-Za-z0-9\n' - <<<"${gpu:-no-gpu}" | sed 's/^-//;s/-$//')
  mkdir -p "$out" || exit 2
  module=$(get bench kernel_module) revision=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
  {
    echo "$(date -u '+%Y-%m-%d %H:%M') UTC: ${gpu:-no GPU}, driver ${module:-unknown}, CUDA $(get bench gpu.cuda_driver)"
    ! $fake || echo "THE FAKE DRIVER: this shows that the check works, and nothing of a GPU"
    ! $small || echo "a quick run: no time is judged"
    echo "weir $(get found version) $(get found revision), engine $(get found engine), tree $revision; $(get found go)"
    echo "CPU $(get bench cpu), $(get bench cores) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1); $(uname -sr)"
    echo "$((SECONDS - began)) s"
    echo
    for i in "${!names[@]}"; do
      printf '%-8s %s\n         bar: %s\n         measured: %s\n' "${verdicts[i]}" "${names[i]}" "${bars[i]}" "${figures[i]}"
      [ -z "${reasons[i]}" ] || printf '         why: %s\n' "${reasons[i]}"
    done
  } >"$out/$name.txt"
  {
    printf '{"date":%s,"device":%s,"fake":%s,"small":%s,"kernel_module":%s,"tree":%s,"system":%s,"seconds":%d,"rows":[' "$(quoted "$stamp")" "$(quoted "$gpu")" \
      $fake $small "$(quoted "$module")" "$(quoted "$revision")" "$(quoted "$(uname -sr)")" $((SECONDS - began))
    for i in "${!names[@]}"; do
      printf '%s\n{"name":%s,"bar":%s,"measured":%s,"verdict":%s,"reason":%s}' "$sep" "$(quoted "${names[i]}")" "$(quoted "${bars[i]}")" \
        "$(quoted "${figures[i]}")" "$(quoted "${verdicts[i]}")" "$(quoted "${reasons[i]}")"
      sep=,
    done
    printf '],\n"runs":{' && sep=
    for file in "$work"/*.json; do
      [ -s "$file" ] || continue
      printf '%s\n"%s":%s' "$sep" "$(basename "$file" .json)" "$(cat "$file")"
      sep=,
    done
    printf '}}\n'
  } >"$out/$name.json"
  echo "report: $out/$name.txt and .json"
}

gpu= fake=false
if found; then
  [ "$gpu" != "Fake GPU" ] || fake=true
  [ -z "$(get bench error)" ] || row "weir bench device" "measures everything" - failed "$(get bench error)"
  index=0
  for network in ${networks//,/ }; do bits_and_times $((index++)) "$network"; done
  tensor_cores
  faults
  whole_path
  peers
  sanitizer
fi
report
for verdict in "${verdicts[@]}"; do [ "$verdict" != failed ] || exit 1; done
