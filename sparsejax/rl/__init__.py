"""Reinforcement learning: environments in pure JAX, deep Q-learning, gymnasium."""

from sparsejax.rl import cartpole as cartpole
from sparsejax.rl import dqn as dqn
from sparsejax.rl import environments as environments
from sparsejax.rl import gym as gym
from sparsejax.rl import rollout as rollout
from sparsejax.rl.environments import Environment as Environment
