import os
import socket

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    job = os.environ.get("SLIPWAY_JOB", socket.gethostname())
    greeting = os.environ.get("GREETING", "Hello")
    return f"{greeting} from Python, job {job}\n"


@app.get("/env/<name>")
def variable(name):
    return os.environ.get(name, "") + "\n"
