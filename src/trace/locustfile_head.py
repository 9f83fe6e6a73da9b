"""Traffic of a quotascale trace, for Locust (checked with 2.8.6 and 2.47.0).

    locust -f FILE --host http://SERVICE-ADDRESS --headless --csv run --csv-full-history

One Locust process loads one service. What the environment can say:

    QUOTASCALE_SERVICE      the service whose stages are played (default: the first)
    QUOTASCALE_PATH         path of the requests (default: /)
    QUOTASCALE_HOST_HEADER  Host header, where a gateway routes by it (default: none)
    LOCUST_HOST             Locust's own way to give --host

Locust ends by itself after the last stage. 2.8.6 writes the history of a headless run only at its
end: use --autostart --web-port PORT instead of --headless there.
"""

import os
import sys

from locust import HttpUser, LoadTestShape, constant, task

# Per service: (seconds, users at the end of the ramp, users added or removed per second).
