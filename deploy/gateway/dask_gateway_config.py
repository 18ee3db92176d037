"""What a Dask Gateway server needs to know to run lazycog.

Give it to the server, or to its Helm chart::

    dask-gateway-server --config deploy/gateway/dask_gateway_config.py
    helm upgrade ... --set-file gateway.extraConfig.lazycog=dask_gateway_config.py
"""

settings = c  # noqa: F821 - the server defines it

# Dask has dropped the scripts dask-scheduler and dask-worker, the server's defaults
settings.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]
settings.ClusterConfig.worker_cmd = ["dask", "worker"]

settings.ClusterConfig.worker_cores = 2
settings.ClusterConfig.worker_memory = "8 G"
settings.ClusterConfig.environment = {
    "OMP_NUM_THREADS": "1",  # Dask has the threads
    "MALLOC_TRIM_THRESHOLD_": "65536",  # freed memory goes back to the system
}
settings.ClusterConfig.idle_timeout = 1800.0

settings.KubeClusterConfig.image = "lazycog:0.1.0"
POD = {"serviceAccountName": "lazycog"}
settings.KubeClusterConfig.scheduler_extra_pod_config = POD
settings.KubeClusterConfig.worker_extra_pod_config = POD
