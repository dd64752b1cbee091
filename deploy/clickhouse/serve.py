#!/usr/bin/env python3
"""A real ClickHouse on loopback, from the chdb-core wheel, for tests and trials.

The wheel holds the whole clickhouse-local program, and clickhouse-local can
open the server's own listeners (SYSTEM START LISTEN): native TCP and HTTP are
answered by the code that a full server runs. The last statement of its script
reads a FIFO and so keeps it alive; closing the FIFO ends it cleanly.

Prints "READY version=... tcp=... http=..." when it answers; ends on SIGTERM or
SIGINT with 0. One process a data folder. Not like a full server: inserts marked
asynchronous are done at once, there is no query_log, no Keeper, no CREATE USER.
"""
import argparse
import os
import shutil
import signal
import sys
import threading
import time
import urllib.request
from xml.sax.saxutils import escape

CONFIG = """<clickhouse>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>{tcp}</tcp_port>
  <http_port>{http}</http_port>
  <logger><level>warning</level><log>{run}/server.log</log><errorlog>{run}/error.log</errorlog></logger>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <users_config>{run}/users.xml</users_config>
</clickhouse>
"""
USER = ("<{name}><password>{password}</password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks>"
        "<profile>default</profile><quota>default</quota></{name}>")
USERS = "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>{users}</users></clickhouse>"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def ask(port, sql, timeout):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", data=sql.encode(), timeout=timeout) as r:
        return r.read().decode().strip()


def prepare(a):
    """Writes the configuration and returns the script that the engine runs."""
    run = os.path.join(a.data, "run")
    os.makedirs(run, exist_ok=True)
    os.makedirs(os.path.join(a.data, "store"), exist_ok=True)
    # The engine's own session is user default without a password: it stays so.
    users = USER.format(name="default", password="")
    if a.user:
        users += USER.format(name=a.user, password=escape(os.environ.get("CLICKHOUSE_PASSWORD", "")))
    write(os.path.join(run, "users.xml"), USERS.format(users=users))
    # Others lie beside it, as in /etc/clickhouse-server.
    beside = os.path.join(run, "users.d")
    shutil.rmtree(beside, ignore_errors=True)
    os.makedirs(beside)
    for file in a.users:
        shutil.copy(file, beside)
    write(os.path.join(run, "config.xml"), CONFIG.format(tcp=a.tcp_port, http=a.http_port, run=run, memory=a.memory))
    fifo = os.path.join(run, "stop.fifo")
    if os.path.exists(fifo):
        os.unlink(fifo)
    os.mkfifo(fifo)
    os.chdir(run)  # clickhouse-local reads config.xml from here
    create = f"CREATE DATABASE IF NOT EXISTS `{a.database}` ENGINE = Atomic;\n"
    return fifo, (create + "SYSTEM START LISTEN QUERIES ALL;\n"
                  f"SELECT count() FROM file('{fifo}', 'LineAsString', 'line String') FORMAT Null")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--tcp-port", type=int, default=19000, help="native protocol")
    p.add_argument("--http-port", type=int, default=18123, help="HTTP protocol")
    p.add_argument("--data", required=True, help="data folder; tables stay for the next start")
    p.add_argument("--database", default="weir", help="made at start if absent")
    p.add_argument("--user", default="", help="a second user; its password comes from CLICKHOUSE_PASSWORD")
    p.add_argument("--users", action="append", default=[], help="an XML file for users.d, such as grants.xml; may be repeated")
    p.add_argument("--memory", type=int, default=4 << 30, help="bytes that the whole server may take")
    a = p.parse_args()
    a.data = os.path.abspath(a.data)

    # Importing opens an embedded connection, which would read config.xml from
    # the working folder: import first, change folder later.
    from chdb import _chdb
    _chdb.set_signal_handlers_enabled(0)
    stop, ended, failure = threading.Event(), threading.Event(), []
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: stop.set())
    fifo, script = prepare(a)

    def serve():
        try:
            _chdb.query(script, "TabSeparated", path=os.path.join(a.data, "store"))
        except BaseException as e:  # the engine's own text
            failure.append(str(e))
        ended.set()

    threading.Thread(target=serve, daemon=True).start()
    deadline = time.monotonic() + 60
    while not (ended.is_set() or stop.is_set()):
        try:
            print(f"READY version={ask(a.http_port, 'SELECT version()', 5)} tcp=127.0.0.1:{a.tcp_port} "
                  f"http=127.0.0.1:{a.http_port} pid={os.getpid()}", flush=True)
            break
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("serve.py: not ready after 60 s, see run/server.log in the data folder")
            time.sleep(0.05)
    while not (ended.is_set() or stop.is_set()):
        stop.wait(0.2)
    if not ended.is_set():
        end(a.http_port, fifo, ended)
    elif not stop.is_set():
        failure.append("the engine ended by itself")
    for f in failure:
        print("serve.py:", f, file=sys.stderr)
    print("STOPPED", flush=True)
    os._exit(1 if failure else 0)  # the engine's static destructors have nothing left to write


def end(port, fifo, ended):
    """Stops running statements, then closes the FIFO so that the engine ends."""
    try:
        ask(port, "KILL QUERY WHERE query NOT LIKE '%stop.fifo%' AND query NOT LIKE 'KILL %' ASYNC FORMAT Null", 3)
    except OSError:
        pass
    give_up = time.monotonic() + 20
    while not ended.wait(0.1) and time.monotonic() < give_up:
        fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        time.sleep(0.05)
        os.close(fd)


if __name__ == "__main__":
    main()
