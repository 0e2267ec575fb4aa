"""The three calls of bench/api as a FastAPI service on SQLAlchemy, reading VibeFlow's own database file.

What it is given: RIVAL_DATABASE, the path of the file; RIVAL_TOKEN, the bearer token to ask for.
"""

import json
import os
import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, field_validator
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

TOKEN = os.environ["RIVAL_TOKEN"]
engine = create_engine(f"sqlite:///file:{os.environ['RIVAL_DATABASE']}?mode=ro&uri=true", pool_size=64, max_overflow=-1)
Sessions = sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class JobRow(Base):
    __tablename__ = "training_jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    name: Mapped[str]
    dataset_id: Mapped[str]
    model_id: Mapped[str]
    tuned_model_id: Mapped[str]
    queue: Mapped[str]
    worker: Mapped[str]
    epoch: Mapped[int]
    status: Mapped[str]
    config: Mapped[str]
    step: Mapped[int]
    total_steps: Mapped[int]
    loss: Mapped[float | None]
    eval_loss: Mapped[float | None]
    best_eval_loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    device: Mapped[str]
    precision: Mapped[str]
    created_at: Mapped[str]
    queued_at: Mapped[str | None]
    started_at: Mapped[str | None]
    completed_at: Mapped[str | None]


class PointRow(Base):
    __tablename__ = "metric_points"
    job_id: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    data_epoch: Mapped[float]
    loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    grad_norm: Mapped[float | None]
    tokens_per_second: Mapped[float | None]


class Job(BaseModel):
    model_config = ConfigDict(from_attributes=True, protected_namespaces=())
    id: str
    project_id: str
    name: str
    dataset_id: str
    model_id: str
    tuned_model_id: str
    queue: str
    worker: str
    epoch: int
    status: str
    config: dict[str, Any]
    step: int
    total_steps: int
    loss: float | None
    eval_loss: float | None
    best_eval_loss: float | None
    learning_rate: float | None
    tokens_per_second: float | None
    device: str
    precision: str
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None

    @field_validator("config", mode="before")
    @classmethod
    def parsed(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value


class JobPage(BaseModel):
    items: list[Job]
    next_cursor: str | None


class Point(BaseModel):
    step: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens_per_second: float | None


class Metrics(BaseModel):
    points: list[Point]


app = FastAPI()
bearer = HTTPBearer()


def signed_in(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
    if not secrets.compare_digest(credentials.credentials, TOKEN):
        raise HTTPException(401)


def session():
    with Sessions() as opened:
        yield opened


SignedIn = Depends(signed_in)
Db = Annotated[Session, Depends(session)]


@app.get("/healthz")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/training", dependencies=[SignedIn])
def jobs(db: Db, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> JobPage:
    rows = db.scalars(select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit + 1)).all()
    items = [Job.model_validate(row) for row in rows[:limit]]
    return JobPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)


@app.get("/api/training/{job_id}", dependencies=[SignedIn])
def job(db: Db, job_id: str) -> Job:
    row = db.get(JobRow, job_id)
    if row is None:
        raise HTTPException(404)
    return Job.model_validate(row)


@app.get("/api/training/{job_id}/metrics", dependencies=[SignedIn])
def metrics(db: Db, job_id: str, max_points: Annotated[int, Query(ge=10, le=20000)] = 2000) -> Metrics:
    if db.get(JobRow, job_id) is None:
        raise HTTPException(404)
    wanted = select(PointRow).where(PointRow.job_id == job_id, PointRow.split == "train").order_by(PointRow.step)
    rows = db.scalars(wanted).all()
    count = min(len(rows), max_points)
    kept = [rows[(i + 1) * len(rows) // count - 1] for i in range(count)]
    return Metrics(
        points=[
            Point(
                step=p.step,
                epoch=p.data_epoch,
                loss=p.loss,
                learning_rate=p.learning_rate,
                grad_norm=p.grad_norm,
                tokens_per_second=p.tokens_per_second,
            )
            for p in kept
        ]
    )
