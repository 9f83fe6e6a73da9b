
SERVICE = os.environ.get("QUOTASCALE_SERVICE")
if SERVICE is None:
    SERVICE = next(iter(STAGES))
    if len(STAGES) > 1:
        print(
            "QUOTASCALE_SERVICE is not set: playing %s of %s" % (SERVICE, ", ".join(STAGES)),
            file=sys.stderr,
        )
if SERVICE not in STAGES:
    sys.exit("QUOTASCALE_SERVICE=%s: not one of %s" % (SERVICE, ", ".join(STAGES)))

PATH = os.environ.get("QUOTASCALE_PATH", "/")
HOST_HEADER = os.environ.get("QUOTASCALE_HOST_HEADER")
HEADERS = {"Host": HOST_HEADER} if HOST_HEADER else None


class TraceUser(HttpUser):
    """One user: a request at a time, the next as soon as the last is answered."""

    wait_time = constant(0)

    @task
    def request(self):
        self.client.get(PATH, headers=HEADERS)


class TraceShape(LoadTestShape):
    """Plays the stages of the service one after the other."""

    stages = STAGES[SERVICE]

    def tick(self):
        run_time = self.get_run_time()
        end = 0
        for duration, users, spawn_rate in self.stages:
            end += duration
            if run_time < end:
                return users, spawn_rate
        return None
