"""Users that ask a few times a second, some of them in vain; for Locust 2.8 and later."""

from locust import HttpUser, constant, task


class Visitor(HttpUser):
    wait_time = constant(0.2)

    @task(9)
    def page(self):
        self.client.get("/page")

    @task(1)
    def fails(self):
        self.client.get("/fails")
