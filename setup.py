"""What is installed: ``pipelines``, ``models`` and the command ``latentlake``."""

from setuptools import find_packages, setup

BEAM = [
    "apache-beam>=2.77",
    "tensorflow-transform>=1.21",
    "tensorflow>=2.21,<2.22",
]
TRAIN = ["keras>=3.15", "scikit-learn>=1.6", "scipy>=1.14", "threadpoolctl>=3.5"]
TUNE = ["optuna>=5,<6"]
REPORT = ["bokeh>=3.8", "jinja2>=3.1", "matplotlib>=3.10", "skops>=0.13"]
AIRFLOW = ["apache-airflow>=3.3,<4"]
BUCKET = ["s3fs>=2026.1"]
POSTGRES = ["psycopg2-binary>=2.9"]
CLUSTER = [
    "apache-airflow-providers-celery>=3.12",
    "apache-airflow-providers-cncf-kubernetes>=10.8",
    "apache-airflow-providers-edge3>=1.3",
    "asyncpg>=0.30",
]
DEV = [
    "build>=1.2",
    "duckdb-extension-avro>=1.5,<2",
    "duckdb-extension-iceberg>=1.5,<2",
    "flask-cors>=6",
    "jax>=0.8",
    "mlxtend>=0.23",
    "moto[s3]>=5.1",
    "mypy>=1.18",
    "pandas>=2.2",
    "pandas-stubs>=2.2",
    "polars>=1.30",
    "pytest>=8.4",
    "ruff>=0.14",
    "scikit-image>=0.25",
    "tensorboard>=2.20",
]

setup(
    name="latentlake",
    version="0.1.0",
    description="Every night, a folder of images becomes a table of features.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipelines", "pipelines.*", "models", "models.*"]),
    package_data={"pipelines.pages": ["*.html", "*.css"], "pipelines": ["py.typed"]},
    install_requires=[
        "duckdb>=1.5,<2",
        "filelock>=3.18",
        "fsspec>=2026.1",
        "google-crc32c>=1.7",
        "numpy>=2.1",
        "opencv-python-headless>=4.12",
        "pillow>=12",
        "protobuf>=6",
        "psutil>=7",
        "pyarrow>=21",
        "pydantic>=2.11",
        "pyiceberg[sql-sqlite]>=0.12",
        "rich>=14",
        "simplejpeg>=1.8",
        "tenacity>=9",
        "tyro>=1.0",
    ],
    extras_require={
        "beam": BEAM,
        "train": TRAIN,
        "tune": TUNE,
        "report": REPORT,
        "airflow": AIRFLOW,
        "bucket": BUCKET,
        "postgres": POSTGRES,
        "cluster": CLUSTER,
        "dev": DEV,
        "all": [
            *(*BEAM, *TRAIN, *TUNE, *REPORT, *AIRFLOW, *BUCKET, *POSTGRES, *CLUSTER),
            *DEV,
        ],
    },
    entry_points={"console_scripts": ["latentlake = pipelines.cli:main"]},
)
